//! Text that may yet become a mark is held back until it is decided.

/// Finds the first of `marks` in `text`. Returns its place and which mark it is; of marks that begin at one place, the longest.
pub fn find<'m>(text: &str, marks: &[&'m str]) -> Option<(usize, &'m str)> {
    marks.iter().filter(|m| !m.is_empty()).filter_map(|m| text.find(m).map(|at| (at, *m))).min_by_key(|(at, m)| (*at, usize::MAX - m.len()))
}

/// Byte offset from which `text` must be held back: its longest end that begins one of `marks`. `text.len()` if none does.
pub fn hold_from(text: &str, marks: &[&str]) -> usize {
    let longest = marks.iter().map(|m| m.len()).max().unwrap_or(0);
    let start = text.len().saturating_sub(longest.saturating_sub(1));
    (start..text.len()).filter(|i| text.is_char_boundary(*i)).find(|i| marks.iter().any(|m| m.len() > text.len() - i && m.starts_with(&text[*i..]))).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_end_that_could_become_a_mark_is_held() {
        assert_eq!(hold_from("abc<", &["<tool>"]), 3);
        assert_eq!(hold_from("abc<too", &["<tool>", "oops"]), 3);
        assert_eq!(hold_from("abc<tool>", &["<tool>"]), 9);
        assert_eq!(hold_from("日本", &["本語"]), 3);
        assert_eq!(hold_from("", &["x"]), 0);
    }

    #[test]
    fn the_first_mark_is_found() {
        assert_eq!(find("a<b<c", &["<c", "<b"]), Some((1, "<b")));
        assert_eq!(find("aa", &["a", "aa"]), Some((0, "aa")));
        assert_eq!(find("x", &["y"]), None);
    }
}
