//! Where two command lines of QEMU differ, option by option.
//!
//! Pure. That a machine's versioned type is its alias is known here, for a VM that has just got its
//! version would differ from itself.

use serde::Serialize;

use super::machine;

/// More comparisons than this are not made: what lies between the ends that are alike then counts as
/// other words altogether.
const MOST: usize = 1 << 22;

/// Words in their order, each option with what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Those that run, and would not.
    pub(crate) removed: Vec<String>,
    /// Those that would run, and do not.
    pub(crate) added: Vec<String>,
}

/// An option with the words behind it that begin with no dash.
pub(crate) fn options(argv: &[String]) -> Vec<&[String]> {
    let mut begins: Vec<usize> =
        (0..argv.len()).filter(|at| *at == 0 || argv[*at].starts_with('-')).collect();
    begins.push(argv.len());
    begins.windows(2).map(|pair| &argv[pair[0]..pair[1]]).collect()
}

/// What differs between the command line that runs and the one that would.
pub(crate) fn between(running: &[String], would_be: &[String]) -> Difference {
    let (one, other) = (options(running), options(would_be));
    let (mut one, mut other) = (&one[..], &other[..]);
    while let ([a, rest @ ..], [b, others @ ..]) = (one, other)
        && same(a, b)
    {
        (one, other) = (rest, others);
    }
    while let ([rest @ .., a], [others @ .., b]) = (one, other)
        && same(a, b)
    {
        (one, other) = (rest, others);
    }
    let mut found = Difference::default();
    let lengths = common(one, other);
    let (mut at, mut by) = (0, 0);
    while at < one.len() || by < other.len() {
        let (left, right) = (one.get(at), other.get(by));
        match (left, right) {
            (Some(a), Some(b)) if lengths.is_some() && same(a, b) => (at, by) = (at + 1, by + 1),
            (Some(a), right) => {
                let longest = |at: usize, by: usize| {
                    lengths.as_ref().map_or(0, |lengths| lengths[at * (other.len() + 1) + by])
                };
                match right {
                    Some(b) if longest(at, by + 1) > longest(at + 1, by) => {
                        found.added.extend_from_slice(b);
                        by += 1;
                    }
                    _ => {
                        found.removed.extend_from_slice(a);
                        at += 1;
                    }
                }
            }
            (None, Some(b)) => {
                found.added.extend_from_slice(b);
                by += 1;
            }
            (None, None) => break,
        }
    }
    found
}

/// Of each pair of places how many options the rests behind them have in common, in one order.
fn common(one: &[&[String]], other: &[&[String]]) -> Option<Vec<u32>> {
    let width = other.len() + 1;
    let cells = width.checked_mul(one.len() + 1).filter(|cells| *cells <= MOST)?;
    let mut lengths = vec![0; cells];
    for at in (0..one.len()).rev() {
        for by in (0..other.len()).rev() {
            lengths[at * width + by] = match same(one[at], other[by]) {
                true => lengths[(at + 1) * width + by + 1] + 1,
                false => lengths[(at + 1) * width + by].max(lengths[at * width + by + 1]),
            };
        }
    }
    Some(lengths)
}

/// Whether two options are the same to QEMU.
fn same(running: &[String], would_be: &[String]) -> bool {
    if running == would_be {
        return true;
    }
    let machine = |option: &[String]| match option {
        [name, value] if name == "-machine" => value.strip_prefix("type=").map(str::to_owned),
        _ => None,
    };
    match (machine(running), machine(would_be)) {
        (Some(alias), Some(version)) => machine::is_version_of(&version, &alias),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn whole_options_come_and_go() {
        for (running, would_be, removed, added) in [
            ("q", "q", "", ""),
            ("q -m 1 -S", "q -m 1 -S", "", ""),
            ("q -m 1 -S", "q -m 2 -S", "-m 1", "-m 2"),
            ("q -S", "r -S", "q", "r"),
            ("q -a -b -c", "q -b -d -c -a", "-a", "-d -a"),
            ("q -device x -device y", "q -device y", "-device x", ""),
            ("q -device y", "q -device x -device y", "", "-device x"),
            ("q", "", "q", ""),
            ("q -machine type=q35", "q -machine type=pc-q35-7.2", "", ""),
            ("q -machine type=q35", "q -machine type=pc", "-machine type=q35", "-machine type=pc"),
        ] {
            let found = between(&words(running), &words(would_be));
            assert_eq!(
                found,
                Difference { removed: words(removed), added: words(added) },
                "{running} | {would_be}"
            );
        }
    }

    #[test]
    fn lines_that_are_too_long_to_compare_are_other_words() {
        let many = |letter: char| (0..3000).map(|at| format!("-{letter}{at}")).collect::<Vec<_>>();
        let found = between(&many('a'), &many('b'));
        assert_eq!((found.removed.len(), found.added.len()), (3000, 3000));
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_out_and_put_in_makes_one_of_the_other(
            one in "( -[abc]( [xy])?){0,8}", other in "( -[abc]( [xy])?){0,8}"
        ) {
            let (one, other) = (words(&one), words(&other));
            let Difference { removed, added } = between(&one, &other);
            assert_eq!(removed.is_empty() && added.is_empty(), one == other);
            let sorted = |lists: [&[String]; 2]| {
                let mut all: Vec<Vec<String>> =
                    lists.iter().flat_map(|list| options(list)).map(<[String]>::to_vec).collect();
                all.sort();
                all
            };
            assert_eq!(sorted([&one, &added]), sorted([&other, &removed]));
        }
    }
}
