//! How often each address came without a token that opens anything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limit;

/// An address is told of at most so often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Refused requests by address, a bounded number of addresses.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    addresses: HashMap<IpAddr, Refused>,
}

#[derive(Debug)]
struct Refused {
    count: u64,
    told_at: Instant,
}

impl Refusals {
    /// Counts one, and says how many there were if the operator should hear of it now.
    pub(super) fn add(&mut self, address: IpAddr, now: Instant) -> Option<u64> {
        if let Some(refused) = self.addresses.get_mut(&address) {
            refused.count += 1;
            if now.saturating_duration_since(refused.told_at) < TELL_EVERY {
                return None;
            }
            refused.told_at = now;
            return Some(refused.count);
        }
        if self.addresses.len() >= limit::REFUSED_ADDRESSES_MAX {
            // Whoever was told of longest ago; a flood of addresses costs a walk each, no memory.
            let oldest = self.addresses.iter().min_by_key(|(_, refused)| refused.told_at);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.addresses.remove(&oldest);
            }
        }
        self.addresses.insert(address, Refused { count: 1, told_at: now });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_of_once_a_minute_and_addresses_are_bounded() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        let address = IpAddr::from([192, 0, 2, 1]);

        assert_eq!(refusals.add(address, start), Some(1));
        assert_eq!(refusals.add(address, start + Duration::from_secs(59)), None);
        assert_eq!(refusals.add(address, start + Duration::from_secs(60)), Some(3));
        for number in 0..u32::try_from(2 * limit::REFUSED_ADDRESSES_MAX).unwrap() {
            refusals.add(IpAddr::from(number.to_be_bytes()), start + Duration::from_secs(61));
        }
        assert_eq!(refusals.addresses.len(), limit::REFUSED_ADDRESSES_MAX);
    }
}
