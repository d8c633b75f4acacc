//! Chooses how a page of integers is written: packed, or in bins, and of what numbers.

use super::Encoding;
use super::bins_writer::{Look, Numbers, Plan};
use super::integers_writer::{Packing, SAMPLE_GROUPS, constant};
use crate::limit::GROUP_VALUES;

/// As [`super::encode_integers`], in bins where that is smaller: takes longer to write and to read.
/// With `sides`, one for each value, they may be written as distances that are mirrored for side 0;
/// whether they are. They have to be read by [`super::IntegerPage::read_mirrored`] then.
pub fn encode_compact(
    values: &[i64],
    plain_bytes: usize,
    sides: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> (Encoding, bool) {
    Draft::compact(values, plain_bytes, sides).write(out)
}

/// A page of integers before it is written: how it takes the fewest bytes, as far as some of its
/// groups tell.
pub struct Draft<'a> {
    values: &'a [i64],
    sides: Option<&'a [u8]>,
    form: Form,
}

enum Form {
    Constant(i64),
    Packed(Packing),
    /// Bins of the groups that were looked at; packed where that turns out to be smaller.
    Bins(Packing, Plan),
}

impl<'a> Draft<'a> {
    /// As [`super::encode_integers`] writes it.
    #[must_use]
    pub fn packed(values: &'a [i64], plain_bytes: usize) -> Self {
        let form = match constant(values) {
            Some(value) => Form::Constant(value),
            None => Form::Packed(Packing::of(values, plain_bytes)),
        };
        Self { values, sides: None, form }
    }

    /// As [`encode_compact`] writes it.
    #[must_use]
    pub fn compact(values: &'a [i64], plain_bytes: usize, sides: Option<&'a [u8]>) -> Self {
        let mut draft = Self { sides, ..Self::packed(values, plain_bytes) };
        if let Form::Packed(packing) = draft.form {
            draft.form = match best_plan(values, &packing, sides) {
                Some(plan) => Form::Bins(packing, plan),
                None => Form::Packed(packing),
            };
        }
        draft
    }

    /// Bytes that the page takes; a guess where it has more groups than were looked at.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Constant(value) => size_of_val(value),
            Form::Packed(packing) => packing.bytes,
            Form::Bins(packing, plan) => packing.bytes.min(plan.bytes_of(self.values.len())),
        }
    }

    /// Appends the page; its encoding, and whether values are mirrored.
    pub fn write(self, out: &mut Vec<u8>) -> (Encoding, bool) {
        let start = out.len();
        let packing = match self.form {
            Form::Constant(value) => {
                out.extend_from_slice(&value.to_le_bytes());
                return (Encoding::Constant, false);
            }
            Form::Packed(packing) => packing,
            Form::Bins(packing, sample) => {
                let (units, look) = (packing.units, sample.look());
                let plan = match sample.count() == self.values.len() {
                    true => Some(sample),
                    false => Numbers::of(self.values, &units, look, self.sides).plan(),
                };
                if let Some(plan) = plan {
                    plan.write(&units, out);
                    if out.len() - start < packing.bytes {
                        return (look.encoding(), look == Look::Mirrored);
                    }
                    out.truncate(start);
                }
                packing
            }
        };
        (packing.write(self.values, out), false)
    }
}

/// The bins of some of the groups, by the way to look at them that takes the fewest bits.
fn best_plan(values: &[i64], packing: &Packing, sides: Option<&[u8]>) -> Option<Plan> {
    let step = (values.len() / GROUP_VALUES / SAMPLE_GROUPS).max(1);
    let sample: Vec<i64> = some_groups(values, step);
    let sides: Option<Vec<u8>> = sides.map(|sides| some_groups(sides, step));
    let looks = [Look::Plain, Look::Differences, Look::Around, Look::Mirrored];
    let looks = looks.into_iter().filter(|look| sides.is_some() || *look != Look::Mirrored);
    let plans = looks
        .filter_map(|look| Numbers::of(&sample, &packing.units, look, sides.as_deref()).plan());
    plans.min_by_key(Plan::bits)
}

/// Every so manieth group of the values of a page.
fn some_groups<T: Copy>(values: &[T], step: usize) -> Vec<T> {
    values.chunks(GROUP_VALUES).step_by(step).flatten().copied().collect()
}
