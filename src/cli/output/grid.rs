//! The table for eyes: aligned columns that fall away from the right where there is no room.

use std::fmt::Write;

/// The blanks between two columns.
const GAP: usize = 2;
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Lines of `titles` and `rows`, each with its line end. Cells are never cut: of the columns, as
/// many are shown as fit into `width` (any number where it is none), the first one always.
/// With `color` the titles and the words of a state stand out (ECMA-48, SGR).
pub(super) fn render(
    titles: &[&str],
    rows: &[Vec<String>],
    width: Option<usize>,
    color: bool,
) -> String {
    let cell = |row: &[String], place: usize| row.get(place).map_or(0, |cell| columns_of(cell));
    let widths: Vec<usize> = titles
        .iter()
        .enumerate()
        .map(|(place, title)| {
            rows.iter().map(|row| cell(row, place)).fold(columns_of(title), usize::max)
        })
        .collect();
    let shown = that_fit(&widths, width);
    let mut page = String::new();
    let bold = |_: usize, _: &str| if color { BOLD } else { "" };
    line(&mut page, &widths[..shown], titles.iter().copied(), bold);
    for row in rows {
        let paint = |place: usize, cell: &str| match place {
            // A VM may have the name of a state.
            1.. if color => paint(cell),
            _ => "",
        };
        line(&mut page, &widths[..shown], row.iter().map(String::as_str), paint);
    }
    page
}

fn that_fit(widths: &[usize], width: Option<usize>) -> usize {
    let Some(width) = width else { return widths.len() };
    let mut end = 0;
    let fit = widths.iter().enumerate().take_while(|(place, column)| {
        end += **column + if *place == 0 { 0 } else { GAP };
        end <= width
    });
    fit.count().max(1).min(widths.len())
}

fn paint(cell: &str) -> &'static str {
    match cell {
        "running" | "ok" => "\x1b[32m",
        "starting" | "paused" | "stopping" | "saved" | "note" => "\x1b[33m",
        "crashed" | "failed" | "wrong" => "\x1b[31m",
        _ => "",
    }
}

fn line<'a>(
    page: &mut String,
    widths: &[usize],
    cells: impl Iterator<Item = &'a str>,
    paint: impl Fn(usize, &str) -> &'static str,
) {
    let mut text = String::new();
    for (place, (width, cell)) in widths.iter().zip(cells).enumerate() {
        let begin = paint(place, cell);
        let end = if begin.is_empty() { "" } else { PLAIN };
        // Writing to a String cannot fail.
        let _ = write!(text, "{begin}{cell}{end}{:1$}", "", width - columns_of(cell) + GAP);
    }
    page.push_str(text.trim_end());
    page.push('\n');
}

/// How wide a text is, taking one column a character: names are ASCII, and other texts stand last.
fn columns_of(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        [["web", "running", "12s"], ["a-long-name", "crashed", "-"]]
            .map(|row| row.map(str::to_owned).to_vec())
            .to_vec()
    }

    #[test]
    fn columns_fall_away_from_the_right_and_the_first_always_stays_whole() {
        let full = "\
NAME         STATE    UPTIME
web          running  12s
a-long-name  crashed  -
";
        let two = "\
NAME         STATE
web          running
a-long-name  crashed
";
        let one = "NAME\nweb\na-long-name\n";
        for (width, expected) in [
            (None, full),
            (Some(80), full),
            (Some(28), full),
            (Some(27), two),
            (Some(20), two),
            (Some(19), one),
            (Some(11), one),
            (Some(3), one),
            (Some(0), one),
        ] {
            assert_eq!(
                render(&["NAME", "STATE", "UPTIME"], &rows(), width, false),
                expected,
                "{width:?}"
            );
        }
    }

    #[test]
    fn letters_that_are_not_ascii_keep_the_columns_aligned() {
        let rows = [["é", "x"], ["ab", "y"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(render(&["N", "B"], &rows, None, false), "N   B\né   x\nab  y\n");
    }

    #[test]
    fn a_table_without_rows_is_its_header_and_one_without_columns_has_nothing_to_say() {
        assert_eq!(render(&["NAME"], &[], None, false), "NAME\n");
        assert_eq!(render(&[], &[], Some(80), false), "\n");
    }

    #[test]
    fn colours_are_beside_the_width_and_never_in_the_first_column() {
        let rows = [["running", "running"], ["a-long-name", "failed"]]
            .map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            render(&["NAME", "STATE"], &rows, None, true),
            "\x1b[1mNAME\x1b[0m         \x1b[1mSTATE\x1b[0m\n\
             running      \x1b[32mrunning\x1b[0m\n\
             a-long-name  \x1b[31mfailed\x1b[0m\n"
        );
    }
}
