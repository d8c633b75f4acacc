//! The memory of a column: its own, or a part of a mapped file.

use std::ops::Deref;
use std::sync::Arc;

use bytemuck::Pod;

/// Bytes that stay where they are as long as somebody holds them: a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The values of a column: owned, or a part of a mapped file that is kept alive.
#[derive(Clone)]
pub enum Buffer<T> {
    /// Values of its own.
    Owned(Vec<T>),
    /// `count` values at byte `offset` of shared bytes, aligned for `T`.
    Shared {
        /// Keeps the bytes alive.
        owner: SharedBytes,
        /// Where the values start, in bytes.
        offset: usize,
        /// How many values.
        count: usize,
    },
}

impl<T: Pod> Buffer<T> {
    /// Wraps `count` values at byte `offset` of `owner` without copying; `None` if they do not lie
    /// inside or are not aligned.
    #[must_use]
    pub fn shared(owner: SharedBytes, offset: usize, count: usize) -> Option<Self> {
        let buffer = Self::Shared { owner, offset, count };
        buffer.try_slice().is_some().then_some(buffer)
    }

    fn try_slice(&self) -> Option<&[T]> {
        match self {
            Self::Owned(values) => Some(values),
            Self::Shared { owner, offset, count } => {
                let end = count.checked_mul(size_of::<T>())?.checked_add(*offset)?;
                let bytes = (**owner).as_ref().get(*offset..end)?;
                bytemuck::try_cast_slice(bytes).ok()
            }
        }
    }

    /// The values as a vector that can be changed; shared values are copied first.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Self::Shared { .. } = self {
            *self = Self::Owned(self.to_vec());
        }
        match self {
            Self::Owned(values) => values,
            Self::Shared { .. } => unreachable!("made owned above"),
        }
    }

    /// An empty vector to decode into, reusing this buffer's memory where it owns some.
    pub fn reuse(&mut self) -> &mut Vec<T> {
        if let Self::Shared { .. } = self {
            *self = Self::Owned(Vec::new());
        }
        let values = self.to_mut();
        values.clear();
        values
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            // `shared` has checked bounds and alignment; shared bytes never move or shrink.
            Self::Shared { .. } => self.try_slice().unwrap_or_default(),
        }
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Pod + PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_values_are_read_in_place_and_copied_on_change() {
        let owner: SharedBytes = Arc::new(bytemuck::cast_slice::<i64, u8>(&[1, 2, 3]).to_vec());
        let aligned = (*owner).as_ref().as_ptr().align_offset(8);
        if aligned == 0 {
            let mut buffer = Buffer::<i64>::shared(owner.clone(), 8, 2).unwrap();
            assert_eq!(*buffer, [2, 3]);
            buffer.to_mut().push(4);
            assert_eq!(*buffer, [2, 3, 4]);
        }
        assert!(Buffer::<i64>::shared(owner.clone(), 8, 3).is_none());
        assert!(Buffer::<i64>::shared(owner, 4, 1).is_none());
    }
}
