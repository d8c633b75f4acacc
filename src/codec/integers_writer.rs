//! Makes pages of integers: constant, bit-packed in groups, or plain.

use super::Encoding;
use super::bits;
use super::integers::{ENTRY_BYTES, GroupEntry, PageHeader};
use super::plan::Plan;
use super::units::Units;
use crate::limit::GROUP_VALUES;

/// Groups looked at to choose between packing values and packing differences.
pub(super) const SAMPLE_GROUPS: usize = 8;

/// Appends `values` to `out` in the smallest encoding and says which.
///
/// `plain_bytes` is the size of one value in a plain page (8, 4 or 1): packing is used only where
/// it is smaller.
pub fn encode_integers<T: Copy + Into<i64>>(
    values: &[T],
    plain_bytes: usize,
    out: &mut Vec<u8>,
) -> Encoding {
    match constant(values) {
        Some(value) => {
            out.extend_from_slice(&value.to_le_bytes());
            Encoding::Constant
        }
        None => Packing::of(values, plain_bytes).write(values, out),
    }
}

/// The value that all `values` are.
pub(super) fn constant<T: Copy + Into<i64>>(values: &[T]) -> Option<i64> {
    let first: i64 = (*values.first()?).into();
    values.iter().all(|&value| value.into() == first).then_some(first)
}

/// How the values of a page are packed, found by some of its groups.
pub(super) struct Packing {
    pub(super) units: Units,
    differences: bool,
    plain_bytes: usize,
    /// Bytes of the page, by guess where it has more groups than were looked at.
    pub(super) bytes: usize,
}

impl Packing {
    pub(super) fn of<T: Copy + Into<i64>>(values: &[T], plain_bytes: usize) -> Self {
        let units = Units::of(values);
        let groups = values.len().div_ceil(GROUP_VALUES);
        let step = (groups / SAMPLE_GROUPS).max(1);
        let (mut plain, mut delta) = (0, 0);
        let mut numbers = Numbers::default();
        for group in values.chunks(GROUP_VALUES).step_by(step) {
            plain += Plan::guess(numbers.values(group, &units), group.len()).cost;
            delta += Plan::guess(numbers.differences(), group.len()).cost;
        }
        let sampled = groups.div_ceil(step).max(1);
        let data = plain.min(delta) * groups / sampled;
        let bytes = size_of::<PageHeader>() + groups * ENTRY_BYTES + data;
        let bytes = bytes.min(values.len() * plain_bytes);
        Self { units, differences: delta < plain, plain_bytes, bytes }
    }

    /// Appends the page; a plain one where that is smaller.
    pub(super) fn write<T: Copy + Into<i64>>(&self, values: &[T], out: &mut Vec<u8>) -> Encoding {
        let start = out.len();
        self.write_packed(values, out);
        if out.len() - start < values.len() * self.plain_bytes {
            return if self.differences { Encoding::Delta } else { Encoding::Packed };
        }
        out.truncate(start);
        for &value in values {
            out.extend(value.into().to_le_bytes().into_iter().take(self.plain_bytes));
        }
        Encoding::Plain
    }

    fn write_packed<T: Copy + Into<i64>>(&self, values: &[T], out: &mut Vec<u8>) {
        let start = out.len();
        let Units { offset, multiplier, .. } = self.units;
        let groups = values.len().div_ceil(GROUP_VALUES);
        let group_count = u32::try_from(groups).unwrap_or(u32::MAX);
        let header = PageHeader { offset, multiplier, group_count, reserved: [0; 12] };
        out.extend_from_slice(bytemuck::bytes_of(&header));
        let directory = out.len();
        out.resize(directory + groups * ENTRY_BYTES, 0);
        let mut numbers = Numbers::default();
        for (index, group) in values.chunks(GROUP_VALUES).enumerate() {
            let data_offset = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
            let values = numbers.values(group, &self.units);
            let (plan, base, delta_base) = if self.differences {
                let first = values.first().copied().unwrap_or_default();
                let plan = Plan::new(numbers.differences(), group.len());
                // The first value has no difference: it is packed as 0 and `base` makes it right.
                numbers.numbers.iter_mut().take(1).for_each(|number| *number = plan.base);
                (plan, first.wrapping_sub(plan.base), plan.base)
            } else {
                let plan = Plan::new(values, group.len());
                (plan, plan.base, 0)
            };
            let exceptions = numbers.write(&plan, out);
            let entry = GroupEntry {
                base,
                delta_base,
                data_offset,
                exception_count: exceptions,
                width: plan.width as u8,
                exception_bytes: if exceptions == 0 { 0 } else { plan.exception_bytes as u8 },
            };
            let at = directory + index * ENTRY_BYTES;
            if let Some(place) = out.get_mut(at..at + ENTRY_BYTES) {
                place.copy_from_slice(bytemuck::bytes_of(&entry));
            }
        }
    }
}

/// The numbers that a group is packed as, and memory to pack them.
#[derive(Default)]
struct Numbers {
    numbers: Vec<i64>,
    positions: Vec<u16>,
    exceptions: Vec<i64>,
}

impl Numbers {
    /// Takes the values of a group, in units.
    fn values<T: Copy + Into<i64>>(&mut self, group: &[T], units: &Units) -> &[i64] {
        units.reduce(group, &mut self.numbers);
        &self.numbers
    }

    /// Makes each value the difference from the one before it, the first one 0; the differences.
    fn differences(&mut self) -> &[i64] {
        let mut before = self.numbers.first().copied().unwrap_or_default();
        for number in &mut self.numbers {
            (*number, before) = (number.wrapping_sub(before), *number);
        }
        self.numbers.get(1..).unwrap_or_default()
    }

    /// Appends the packed numbers, then positions and values of the exceptions; how many there are.
    fn write(&mut self, plan: &Plan, out: &mut Vec<u8>) -> u16 {
        let Self { numbers, positions, exceptions, .. } = self;
        numbers.iter_mut().for_each(|number| *number = number.wrapping_sub(plan.base));
        positions.clear();
        exceptions.clear();
        if plan.exception_bytes > 0 {
            // Every position is written, the next one over it unless it is an exception: which
            // ones are cannot be foreseen.
            positions.resize(numbers.len(), 0);
            let mut count = 0;
            for (position, number) in (0u16..).zip(numbers.iter()) {
                if let Some(place) = positions.get_mut(count) {
                    *place = position;
                }
                count += usize::from(!plan.holds(number.cast_unsigned()));
            }
            positions.truncate(count);
            for &position in positions.iter() {
                if let Some(number) = numbers.get_mut(usize::from(position)) {
                    exceptions.push(std::mem::take(number));
                }
            }
        }
        bits::pack(bytemuck::cast_slice(numbers), plan.width, out);
        out.extend_from_slice(bytemuck::cast_slice(positions));
        for exception in exceptions.iter() {
            out.extend(exception.to_le_bytes().into_iter().take(plan.exception_bytes));
        }
        out.resize(out.len().next_multiple_of(8), 0);
        positions.len() as u16
    }
}
