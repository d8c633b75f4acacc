//! Names of symbols with `*` for any characters and `?` for one.

/// Whether `name` is what `pattern` says, case included.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // Which beginnings of the pattern match the name read so far.
    let mut reached = vec![false; pattern.len() + 1];
    let stars = |reached: &mut Vec<bool>| {
        for (at, c) in pattern.iter().enumerate() {
            if *c == '*' && reached.get(at) == Some(&true) {
                set(reached, at + 1);
            }
        }
    };
    set(&mut reached, 0);
    stars(&mut reached);
    for c in name {
        let mut next = vec![false; pattern.len() + 1];
        for (at, p) in pattern.iter().enumerate() {
            if reached.get(at) != Some(&true) {
                continue;
            }
            match p {
                '*' => set(&mut next, at),
                '?' => set(&mut next, at + 1),
                p if *p == c => set(&mut next, at + 1),
                _ => {}
            }
        }
        stars(&mut next);
        reached = next;
    }
    reached.last() == Some(&true)
}

fn set(reached: &mut [bool], at: usize) {
    if let Some(reached) = reached.get_mut(at) {
        *reached = true;
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_marks_stand_for_characters() {
        for (pattern, name, expected) in [
            ("BTCUSDT", "BTCUSDT", true),
            ("BTCUSDT", "BTCUSDC", false),
            ("btcusdt", "BTCUSDT", false),
            ("*", "", true),
            ("*USDT", "BTCUSDT", true),
            ("*USDT", "BTCUSDTX", false),
            ("B*T*T", "BTCUSDT", true),
            ("B?C*", "BTCUSDT", true),
            ("?", "", false),
            ("***a", "bca", true),
            ("a*", "a", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }
}
