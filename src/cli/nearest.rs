//! The known word that an unknown one was meant to be.

/// The known word nearest to `word`: one that it begins, else one at most a third of its letters
/// away, counting a letter put in, left out, changed, or swapped with its neighbour as one.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = word.chars().take(64).collect();
    let limit = typed.len().div_ceil(3).min(3);
    known
        .into_iter()
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.chars().collect();
            let away = match typed.len() >= 2 && candidate.starts_with(word) {
                true => 0,
                false => distance(&typed, &letters),
            };
            (away <= limit && away < letters.len()).then_some((away, candidate))
        })
        .min_by_key(|(away, _)| *away)
        .map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance of two words.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word_and_a_foreign_word_finds_none() {
        let known = ["start", "stop", "status", "ls", "rm", "resume", "rename"];
        for (word, expected) in [
            ("strat", Some("start")),
            ("stopp", Some("stop")),
            ("stat", Some("status")),
            ("renam", Some("rename")),
            ("sl", Some("ls")),
            ("x", None),
            ("", None),
            ("bake", None),
            ("destroy", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
