//! Columns, as Go's tabwriter aligns them.
//!
//! A cell ends with a tab; what follows the last tab of a line is in no column. A column is a run
//! of lines next to one another that have a cell there, and is as wide as its widest cell.

const MIN_WIDTH: usize = 10;

/// How far cells stand apart.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The least width of a cell with its padding.
    pub min_width: usize,
    /// Blanks behind the widest cell.
    pub padding: usize,
}

/// The layout of Docker's lists.
pub const LIST: Layout = Layout {
    min_width: MIN_WIDTH,
    padding: 3,
};

/// Aligns the cells of a text.
pub fn align(text: &str, layout: Layout) -> String {
    let body = text.strip_suffix('\n').unwrap_or(text);
    if body.is_empty() {
        return text.to_owned();
    }
    let lines: Vec<Vec<&str>> = body
        .split('\n')
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            // Cells with a tab behind them only.
            let has = |line: usize| lines[line].len() > column + 1;
            if !has(start) {
                start += 1;
                continue;
            }
            let end = (start..lines.len())
                .find(|line| !has(*line))
                .unwrap_or(lines.len());
            let widest = (start..end)
                .map(|line| width(lines[line][column]))
                .max()
                .unwrap_or(0);
            let wide = (widest + layout.padding).max(layout.min_width);
            for row in &mut widths[start..end] {
                row[column] = wide;
            }
            start = end;
        }
    }
    let mut out = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        for (i, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if i + 1 < cells.len() {
                out.push_str(&" ".repeat(widths[i].saturating_sub(width(cell))));
            }
        }
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

// Characters of double width count twice, as in Docker's own copy of tabwriter.
fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c),
            0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xac00..=0xd7a3 |
            0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 |
            0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = "CONTAINER ID\tA\tB\n0123456789ab\tlonger than ten\tx\n";
        let want = "CONTAINER ID   A                 B\n0123456789ab   longer than ten   x\n";
        assert_eq!(align(text, LIST), want);
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        let text = "aaaaaaaaaaaaaa\tb\nx\nc\td\n";
        assert_eq!(align(text, LIST), "aaaaaaaaaaaaaa   b\nx\nc         d\n");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(
            align("日本日本日本\tx\nabc\ty\n", LIST),
            "日本日本日本   x\nabc            y\n"
        );
    }
}
