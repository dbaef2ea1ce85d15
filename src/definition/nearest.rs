//! The known word that a mistyped one was meant to be. Used for hints only: it decides nothing.

/// Longer words are not compared: nobody mistypes a key of 64 bytes, and the work is bounded.
const LONGEST: usize = 64;

/// The known word nearest to `word`, if one is near enough to be worth naming: `word` is its
/// beginning (two characters or more), or a third of its characters at most are wrong. Letter case
/// and the choice between `-` and `_` cost nothing. Of equally near words the first is taken.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let wanted = folded(word);
    let allowed = (wanted.len() / 3).max(1);
    known
        .into_iter()
        .filter_map(|candidate| {
            let folded = folded(candidate);
            let distance = distance(&wanted, &folded);
            let is_prefix = wanted.len() >= 2 && folded.starts_with(&wanted);
            // One letter is near to every other letter: something must be shared.
            let is_near = distance <= allowed && distance < wanted.len();
            (is_near || is_prefix).then_some((if is_near { distance } else { allowed }, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn folded(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// How many letters must be put in, taken out, exchanged or swapped with their neighbour (optimal
/// string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let exchange = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = exchange.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word() {
        let known = ["memory", "machine", "cpu", "cpu_model", "stop_timeout", "rng"];
        for (word, expected) in [
            ("memroy", Some("memory")),
            ("memry", Some("memory")),
            ("Memory", Some("memory")),
            ("cpu-model", Some("cpu_model")),
            ("mem", Some("memory")),
            ("stop", Some("stop_timeout")),
            ("cpus", Some("cpu")),
            ("cup", Some("cpu")),
            ("x", None),
            ("", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"m".repeat(1 << 20), known), None);
    }

    #[test]
    fn the_distance_counts_a_swap_as_one() {
        for (a, b, expected) in
            [("ab", "ba", 1), ("abc", "abc", 0), ("", "abc", 3), ("né", "ne", 1)]
        {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            assert_eq!(distance(&a, &b), expected, "{a:?} {b:?}");
            assert_eq!(distance(&b, &a), expected, "{b:?} {a:?}");
        }
    }
}
