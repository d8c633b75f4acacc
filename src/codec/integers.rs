//! Pages of `i64`: constant, bit-packed in groups, or plain.
//!
//! A packed page first takes out what all values share: an offset and a multiplier (prices that are
//! multiples of a step, times that are whole milliseconds). Each group of 1,024 then has its own
//! base and width; the few values that would need more bits are exceptions.

use bytemuck::{Pod, Zeroable};

use super::bins::BinsPage;
use super::bits::{self, Group, LANE_VALUES, LANES};
use super::{Encoding, Fault, Result};
use crate::limit::GROUP_VALUES;

/// Start of a packed page, 32 bytes. `format-spec/04-encodings.md`, table 4.1.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct PageHeader {
    pub(super) offset: i64,        //  0  added to every value
    pub(super) multiplier: u64,    //  8  at least 1
    pub(super) group_count: u32,   // 16
    pub(super) reserved: [u8; 12], // 20  written 0
}

/// One group of a packed page, 24 bytes. `format-spec/04-encodings.md`, table 4.2.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct GroupEntry {
    // Added to every residual; of delta pages the value before the first.
    pub(super) base: i64, //  0
    // Of delta pages added to every packed difference; else 0.
    pub(super) delta_base: i64,      //  8
    pub(super) data_offset: u32,     // 16  bytes from the start of the page, multiple of 8
    pub(super) exception_count: u16, // 20
    pub(super) width: u8,            // 22  bits of a packed residual, at most 64
    pub(super) exception_bytes: u8,  // 23  1, 2, 4 or 8; 0 without exceptions
}

const HEADER_BYTES: usize = size_of::<PageHeader>();
pub(super) const ENTRY_BYTES: usize = size_of::<GroupEntry>();
const _: () = assert!(HEADER_BYTES == 32 && ENTRY_BYTES == 24);

const NOT_MIRRORED: Fault = Fault("page that refers to a side is not of bins");
const CODE_TOO_LARGE: Fault = Fault("code or flag above 255");

/// A page of integers, checked as far as its header; any run of its values can be read.
#[derive(Clone, Copy)]
pub struct IntegerPage<'a> {
    bytes: &'a [u8],
    count: usize,
    form: Form<'a>,
}

#[derive(Clone, Copy)]
enum Form<'a> {
    Plain { plain_bytes: usize },
    Constant(i64),
    Packed { header: PageHeader, entries: &'a [u8], delta: bool },
    Bins(BinsPage<'a>, bool),
}

impl<'a> IntegerPage<'a> {
    /// Checks the start of a page of `count` values.
    ///
    /// # Errors
    /// A [`Fault`] if `bytes` cannot be such a page.
    pub fn parse(
        bytes: &'a [u8],
        encoding: Encoding,
        count: usize,
        plain_bytes: usize,
    ) -> Result<Self> {
        let form = match encoding {
            Encoding::Plain => {
                if count.checked_mul(plain_bytes) != Some(bytes.len()) {
                    return Err(Fault("plain page has another length than its count"));
                }
                Form::Plain { plain_bytes }
            }
            Encoding::Constant => {
                let value = bytes.try_into().map_err(|_| Fault("constant page is not 8 bytes"))?;
                Form::Constant(i64::from_le_bytes(value))
            }
            Encoding::Packed | Encoding::Delta => {
                let header: PageHeader = read(bytes, 0).ok_or(Fault("packed page is too short"))?;
                let groups = count.div_ceil(GROUP_VALUES);
                if header.group_count as usize != groups || header.reserved != [0; 12] {
                    return Err(Fault("packed page has another group count than its values"));
                }
                if header.multiplier == 0 || header.multiplier > i64::MAX as u64 {
                    return Err(Fault("packed page has an impossible multiplier"));
                }
                let entries = groups
                    .checked_mul(ENTRY_BYTES)
                    .and_then(|len| bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(len)?))
                    .ok_or(Fault("packed page ends inside its group directory"))?;
                Form::Packed { header, entries, delta: encoding == Encoding::Delta }
            }
            Encoding::Bins => Form::Bins(BinsPage::parse(bytes, count, false)?, false),
            Encoding::DeltaBins => Form::Bins(BinsPage::parse(bytes, count, true)?, true),
            Encoding::Lz4 | Encoding::TextIntegers => {
                return Err(Fault("page of integers has an encoding for text"));
            }
        };
        Ok(Self { bytes, count, form })
    }

    /// How many values the page has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Appends the values at `range` to `out`.
    ///
    /// # Errors
    /// A [`Fault`] if the bytes contradict the specification or `range` passes the end.
    pub fn read(&self, range: std::ops::Range<usize>, out: &mut Vec<i64>) -> Result<()> {
        if range.start > range.end || range.end > self.count {
            return Err(Fault("values asked for lie outside the page"));
        }
        match self.form {
            Form::Constant(value) => out.resize(out.len() + range.len(), value),
            Form::Plain { plain_bytes } => read_plain(self.bytes, plain_bytes, range, out)?,
            Form::Bins(page, _) => page.read(range, None, out)?,
            Form::Packed { .. } => {
                out.reserve(range.len());
                let mut group: Group = [[0; LANES]; LANE_VALUES];
                let mut at = range.start;
                while at < range.end {
                    let index = at / GROUP_VALUES;
                    let count = self.group(index, &mut group)?;
                    let first = index * GROUP_VALUES;
                    let end = range.end.min(first + count);
                    let values = group.as_flattened().get(at - first..end - first);
                    out.extend_from_slice(bytemuck::cast_slice(
                        values.ok_or(Fault("group is shorter than its page says"))?,
                    ));
                    at = end;
                }
            }
        }
        Ok(())
    }

    /// As [`IntegerPage::read`], of a page that was written with sides; `sides` are those of the
    /// values asked for.
    ///
    /// # Errors
    /// As [`IntegerPage::read`], or if there are other sides than values, or the page has no bins.
    pub fn read_mirrored(
        &self,
        range: std::ops::Range<usize>,
        sides: &[u8],
        out: &mut Vec<i64>,
    ) -> Result<()> {
        let Form::Bins(page, false) = self.form else { return Err(NOT_MIRRORED) };
        if range.start > range.end || range.end > self.count || sides.len() != range.len() {
            return Err(Fault("values asked for lie outside the page"));
        }
        page.read(range, Some(sides), out)
    }

    /// As [`IntegerPage::read`], of values that fit a `u8`.
    ///
    /// # Errors
    /// As [`IntegerPage::read`], or a value above 255.
    pub fn read_u8(&self, range: std::ops::Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        if range.start > range.end || range.end > self.count {
            return Err(Fault("values asked for lie outside the page"));
        }
        match self.form {
            Form::Constant(value) => {
                out.resize(
                    out.len() + range.len(),
                    u8::try_from(value).map_err(|_| CODE_TOO_LARGE)?,
                );
            }
            Form::Plain { plain_bytes: 1 } => {
                out.extend_from_slice(self.bytes.get(range).unwrap_or_default());
            }
            Form::Plain { .. } => return Err(Fault("plain page of codes is not of bytes")),
            Form::Bins(page, _) => {
                let mut wide = Vec::new();
                page.read(range, None, &mut wide)?;
                for value in wide {
                    out.push(u8::try_from(value).map_err(|_| CODE_TOO_LARGE)?);
                }
            }
            Form::Packed { .. } => {
                out.reserve(range.len());
                let mut group: Group<u8> = [[0; LANES]; LANE_VALUES];
                let mut at = range.start;
                while at < range.end {
                    let index = at / GROUP_VALUES;
                    let count = self.group_u8(index, &mut group)?;
                    let first = index * GROUP_VALUES;
                    let end = range.end.min(first + count);
                    let values = group.as_flattened().get(at - first..end - first);
                    out.extend_from_slice(
                        values.ok_or(Fault("group is shorter than its page says"))?,
                    );
                    at = end;
                }
            }
        }
        Ok(())
    }

    /// First index whose value is at least `bound` in a page of values that never fall.
    ///
    /// Searches the group directory and decodes one group.
    ///
    /// # Errors
    /// As [`IntegerPage::read`].
    pub fn partition_point(&self, bound: i64) -> Result<usize> {
        match self.form {
            Form::Constant(value) => Ok(if value < bound { self.count } else { 0 }),
            Form::Plain { plain_bytes: 8 } => {
                let (values, _) = self.bytes.as_chunks::<8>();
                Ok(values.partition_point(|value| i64::from_le_bytes(*value) < bound))
            }
            Form::Plain { .. } => Err(Fault("plain page of times is not of 8 bytes")),
            Form::Bins(page, true) => {
                let Some(index) = page.group_before(bound) else { return Ok(0) };
                let start = index * GROUP_VALUES;
                let mut values = Vec::with_capacity(GROUP_VALUES);
                page.read(start..self.count.min(start + GROUP_VALUES), None, &mut values)?;
                Ok(start + values.partition_point(|&value| value < bound))
            }
            Form::Packed { delta: false, .. } | Form::Bins(_, false) => {
                let mut values = Vec::with_capacity(self.count);
                self.read(0..self.count, &mut values)?;
                Ok(values.partition_point(|&value| value < bound))
            }
            Form::Packed { header, entries, .. } => {
                let groups = entries.len() / ENTRY_BYTES;
                // The group that may hold the first value at or after `bound` is the last one
                // whose own first value is before it.
                let (entries, _) = entries.as_chunks::<ENTRY_BYTES>();
                let first_value = |entry: &[u8; ENTRY_BYTES]| {
                    let entry: GroupEntry = bytemuck::pod_read_unaligned(entry);
                    let first = entry.base.wrapping_add(entry.delta_base);
                    header.offset.wrapping_add(first.wrapping_mul(header.multiplier as i64))
                };
                let before = entries.partition_point(|entry| first_value(entry) < bound);
                let Some(index) = before.checked_sub(1) else { return Ok(0) };
                debug_assert!(index < groups);
                let mut group: Group = [[0; LANES]; LANE_VALUES];
                let count = self.group(index, &mut group)?;
                let values: &[i64] = bytemuck::cast_slice(group.as_flattened());
                let values = values.get(..count).unwrap_or_default();
                Ok(index * GROUP_VALUES + values.partition_point(|&value| value < bound))
            }
        }
    }

    /// Decodes group `index` of a packed page to final values; how many it has.
    fn group(&self, index: usize, out: &mut Group) -> Result<usize> {
        let group = self.packed_group(index)?;
        let PackedGroup { header, entry, count, .. } = group;
        let multiplier = header.multiplier;
        let base = (entry.base as u64).wrapping_mul(multiplier);
        let shift = (header.offset as u64).wrapping_add(base);
        if group.delta {
            group.unpack(out, |value| value)?;
            // Searching by the group directory relies on it.
            if out.as_flattened().first().is_some_and(|&first| first != 0) {
                return Err(Fault("first difference of a group is not 0"));
            }
            sum_differences(&header, &entry, out);
        } else if multiplier == 1 {
            group.unpack(out, |value| value.wrapping_add(shift))?;
        } else {
            group.unpack(out, |value| value.wrapping_mul(multiplier).wrapping_add(shift))?;
        }
        Ok(count)
    }

    /// As [`IntegerPage::group`], of values that fit a `u8`.
    fn group_u8(&self, index: usize, out: &mut Group<u8>) -> Result<usize> {
        let group = self.packed_group(index)?;
        let PackedGroup { header, entry, count, packed, .. } = group;
        let shift = header.offset.wrapping_add(entry.base);
        let plain = !group.delta && header.multiplier == 1 && group.exceptions == 0;
        if plain && entry.width <= 8 && (0..=256 - (1 << entry.width)).contains(&shift) {
            let make = |value: u64| (value as u8).wrapping_add(shift as u8);
            bits::unpack(packed, count, entry.width.into(), out, make)?;
            return Ok(count);
        }
        let mut wide: Group = [[0; LANES]; LANE_VALUES];
        self.group(index, &mut wide)?;
        let values = out.as_flattened_mut().iter_mut().zip(wide.as_flattened());
        for (out, &value) in values.take(count) {
            *out = u8::try_from(value).map_err(|_| CODE_TOO_LARGE)?;
        }
        Ok(count)
    }

    /// Where group `index` of a packed page lies, checked.
    fn packed_group(&self, index: usize) -> Result<PackedGroup<'a>> {
        const SHORT: Fault = Fault("group lies outside its page");
        let Form::Packed { header, entries, delta } = self.form else { return Err(SHORT) };
        let entry: GroupEntry = read(entries, index * ENTRY_BYTES).ok_or(SHORT)?;
        let count = (self.count - index * GROUP_VALUES).min(GROUP_VALUES);
        let width = u32::from(entry.width);
        let exceptions = usize::from(entry.exception_count);
        if width > 64 || exceptions > count {
            return Err(Fault("group has an impossible width or exception count"));
        }
        if !entry.data_offset.is_multiple_of(8) {
            return Err(Fault("data of a group does not begin at a multiple of 8"));
        }
        if exceptions == 0 && entry.exception_bytes != 0 {
            return Err(Fault("group without exceptions has bytes of an exception"));
        }
        let data = self.bytes.get(entry.data_offset as usize..).ok_or(SHORT)?;
        let (packed, data) = data.split_at_checked(bits::packed_len(count, width)).ok_or(SHORT)?;
        let (positions, data) = data.split_at_checked(exceptions * 2).ok_or(SHORT)?;
        let residuals = data.get(..exceptions * usize::from(entry.exception_bytes)).ok_or(SHORT)?;
        Ok(PackedGroup { header, delta, entry, count, exceptions, packed, positions, residuals })
    }
}

/// One group of a packed page.
struct PackedGroup<'a> {
    header: PageHeader,
    delta: bool,
    entry: GroupEntry,
    count: usize,
    exceptions: usize,
    packed: &'a [u8],
    positions: &'a [u8],
    residuals: &'a [u8],
}

impl PackedGroup<'_> {
    /// Unpacks the residuals, exceptions included, each as `make` makes it.
    fn unpack(&self, out: &mut Group, make: impl Fn(u64) -> u64) -> Result<()> {
        bits::unpack(self.packed, self.count, self.entry.width.into(), out, &make)?;
        if self.exceptions > 0 {
            let out = out.as_flattened_mut().get_mut(..self.count).unwrap_or_default();
            patch(self.positions, self.residuals, self.entry.exception_bytes, out, make)?;
        }
        Ok(())
    }
}

fn sum_differences(header: &PageHeader, entry: &GroupEntry, out: &mut Group) {
    // Offset and multiplier are folded into the running sum.
    let multiplier = header.multiplier;
    let step = (entry.delta_base as u64).wrapping_mul(multiplier);
    let mut sum = (header.offset as u64).wrapping_add((entry.base as u64).wrapping_mul(multiplier));
    for value in out.as_flattened_mut() {
        sum = sum.wrapping_add(value.wrapping_mul(multiplier)).wrapping_add(step);
        *value = sum;
    }
}

/// Puts the exceptions of a group in their places.
fn patch(
    positions: &[u8],
    residuals: &[u8],
    exception_bytes: u8,
    out: &mut [u64],
    make: impl Fn(u64) -> u64,
) -> Result<()> {
    let (positions, _) = positions.as_chunks::<2>();
    let mut put = |position: &[u8; 2], residual: i64| {
        let position = usize::from(u16::from_le_bytes(*position));
        let place = out.get_mut(position).ok_or(Fault("exception lies outside its group"))?;
        *place = make(residual.cast_unsigned());
        Ok(())
    };
    match exception_bytes {
        1 => positions.iter().zip(residuals).try_for_each(|(at, &v)| put(at, i64::from(v as i8))),
        2 => positions
            .iter()
            .zip(residuals.as_chunks::<2>().0)
            .try_for_each(|(at, v)| put(at, i64::from(i16::from_le_bytes(*v)))),
        4 => positions
            .iter()
            .zip(residuals.as_chunks::<4>().0)
            .try_for_each(|(at, v)| put(at, i64::from(i32::from_le_bytes(*v)))),
        8 => positions
            .iter()
            .zip(residuals.as_chunks::<8>().0)
            .try_for_each(|(at, v)| put(at, i64::from_le_bytes(*v))),
        _ => Err(Fault("exceptions are not of 1, 2, 4 or 8 bytes")),
    }
}

fn read_plain(
    bytes: &[u8],
    plain_bytes: usize,
    range: std::ops::Range<usize>,
    out: &mut Vec<i64>,
) -> Result<()> {
    let part = range
        .start
        .checked_mul(plain_bytes)
        .zip(range.end.checked_mul(plain_bytes))
        .and_then(|(start, end)| bytes.get(start..end))
        .ok_or(Fault("values asked for lie outside the page"))?;
    match plain_bytes {
        8 => out.extend(part.as_chunks::<8>().0.iter().map(|value| i64::from_le_bytes(*value))),
        4 => out.extend(
            part.as_chunks::<4>().0.iter().map(|value| i64::from(u32::from_le_bytes(*value))),
        ),
        _ => out.extend(part.iter().map(|&value| i64::from(value))),
    }
    Ok(())
}

fn read<T: Pod>(bytes: &[u8], at: usize) -> Option<T> {
    bytes.get(at..at.checked_add(size_of::<T>())?).map(bytemuck::pod_read_unaligned)
}

#[cfg(test)]
mod tests {
    use super::super::encode_integers;
    use super::*;
    use crate::quantity::NULL;
    use proptest::prelude::*;

    fn round_trip(values: &[i64]) -> (Encoding, usize) {
        let mut bytes = Vec::new();
        let encoding = encode_integers(values, 8, &mut bytes);
        let page = IntegerPage::parse(&bytes, encoding, values.len(), 8).unwrap();
        let mut whole = Vec::new();
        page.read(0..values.len(), &mut whole).unwrap();
        assert_eq!(whole, values);
        for range in [0..1, values.len() / 3..values.len() / 2, values.len() - 1..values.len()] {
            let mut part = Vec::new();
            page.read(range.clone(), &mut part).unwrap();
            assert_eq!(part, values[range]);
        }
        (encoding, bytes.len())
    }

    #[test]
    fn sizes_are_what_the_shape_of_the_values_allows() {
        let n = 10 * 1024;
        assert_eq!(round_trip(&vec![7; n]), (Encoding::Constant, 8));

        let sequence: Vec<i64> = (0..n as i64).map(|i| 1_000_000 + i).collect();
        let (encoding, bytes) = round_trip(&sequence);
        assert_eq!(encoding, Encoding::Delta);
        assert!(bytes <= 32 + 10 * 24, "{bytes}");

        let milliseconds: Vec<i64> = (0..n as i64)
            .map(|i| 1_723_161_255_000_000_000 + (i * i % 7 + i) * 1_000_000)
            .collect();
        let (_, bytes) = round_trip(&milliseconds);
        assert!(bytes < n, "{bytes}");

        let mut outlier: Vec<i64> =
            (0..n as i64).map(|i| 50_000 + (i * 7919 % 10_007) % 13).collect();
        outlier[77] = i64::MAX;
        outlier[5000] = NULL;
        let (encoding, bytes) = round_trip(&outlier);
        assert_eq!(encoding, Encoding::Packed);
        assert!(bytes < n, "{bytes}");
    }

    #[test]
    fn a_time_is_found_through_the_group_directory() {
        let times: Vec<i64> = (0..5000).map(|i| 1000 + (i / 3) * 7).collect();
        let mut bytes = Vec::new();
        let encoding = encode_integers(&times, 8, &mut bytes);
        let page = IntegerPage::parse(&bytes, encoding, times.len(), 8).unwrap();

        for bound in 990..13_000 {
            let expected = times.partition_point(|&value| value < bound);
            assert_eq!(page.partition_point(bound).unwrap(), expected, "{bound}");
        }
    }

    #[test]
    fn damaged_pages_are_refused_or_read_without_panic() {
        let values: Vec<i64> =
            (0..1500).map(|i| i * i % 977 + (i % 100 / 99) * 1_000_000).collect();
        let mut bytes = Vec::new();
        let encoding = encode_integers(&values, 8, &mut bytes);
        for cut in 0..bytes.len() {
            let mut out = Vec::new();
            let result = IntegerPage::parse(&bytes[..cut], encoding, values.len(), 8)
                .and_then(|page| page.read(0..values.len(), &mut out));
            assert!(result.is_err() || cut + 8 > bytes.len(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            for encoding in [Encoding::Packed, Encoding::Delta, Encoding::Plain, Encoding::Constant]
            {
                let mut out = Vec::new();
                let _ = IntegerPage::parse(&damaged, encoding, values.len(), 8)
                    .and_then(|page| page.read(0..values.len(), &mut out));
            }
        }
    }

    #[test]
    fn a_group_that_begins_askew_or_has_bytes_of_no_exception_is_refused() {
        let values: Vec<i64> = (0..20).map(|i| i * 7919 % 10_007 % 13).collect();
        let mut bytes = Vec::new();
        let encoding = encode_integers(&values, 8, &mut bytes);
        let fault = |at: usize, value: u8| {
            let mut damaged = bytes.clone();
            damaged[HEADER_BYTES + at] = value;
            IntegerPage::parse(&damaged, encoding, values.len(), 8)
                .and_then(|page| page.read(0..values.len(), &mut Vec::new()))
                .unwrap_err()
        };

        let askew = Fault("data of a group does not begin at a multiple of 8");
        assert_eq!([fault(16, 52), fault(16, 57)], [askew; 2]);
        let no_exception = Fault("group without exceptions has bytes of an exception");
        assert_eq!([fault(23, 1), fault(23, 8)], [no_exception; 2]);
    }

    #[test]
    fn impossible_headers_and_a_first_difference_are_refused() {
        let values: Vec<i64> = (0..100).map(|i| i * 1000 + i * i % 7).collect();
        let mut bytes = Vec::new();
        let encoding = encode_integers(&values, 8, &mut bytes);
        assert_eq!(encoding, Encoding::Delta);
        let fault = |bytes: &[u8]| {
            IntegerPage::parse(bytes, encoding, values.len(), 8)
                .and_then(|page| page.read(0..values.len(), &mut Vec::new()))
                .unwrap_err()
        };
        let data = usize::from(bytes[HEADER_BYTES + 16]);

        for multiplier in [0, i64::MAX as u64 + 1] {
            let mut damaged = bytes.clone();
            damaged[8..16].copy_from_slice(&multiplier.to_le_bytes());
            assert_eq!(fault(&damaged), Fault("packed page has an impossible multiplier"));
        }
        let mut damaged = bytes.clone();
        damaged[data] |= 1;
        assert_eq!(fault(&damaged), Fault("first difference of a group is not 0"));
    }

    proptest! {
        #[test]
        fn any_integers_come_back(
            values in prop::collection::vec(
                prop_oneof![any::<i64>(), -5i64..5, Just(NULL), Just(i64::MAX)], 1..3000),
        ) {
            round_trip(&values);
        }

        #[test]
        fn small_integers_come_back_as_bytes(
            values in prop::collection::vec(0i64..4, 1..3000), least in 0i64..=252,
        ) {
            let values: Vec<_> = values.iter().map(|value| value + least).collect();
            let mut bytes = Vec::new();
            let encoding = encode_integers(&values, 1, &mut bytes);
            let page = IntegerPage::parse(&bytes, encoding, values.len(), 1).unwrap();
            let mut out = Vec::new();
            page.read_u8(0..values.len(), &mut out).unwrap();
            prop_assert_eq!(out.iter().map(|&v| i64::from(v)).collect::<Vec<_>>(), values);
        }

        #[test]
        fn steady_walks_come_back(
            steps in prop::collection::vec(-50i64..50, 1..5000), multiple in 1i64..1_000_000,
        ) {
            let mut at = 1_723_161_255_000_000_000i64;
            let values: Vec<i64> = steps.iter().map(|step| { at += step * multiple; at }).collect();
            round_trip(&values);
        }
    }
}
