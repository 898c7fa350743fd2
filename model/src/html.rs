//! The one place where text becomes HTML, for the pages that are printed.

/// As text of an element or a quoted attribute. Control characters have no place in HTML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_page_would_read_as_its_own_is_left() {
        let text = "<script>\"a\" & 'b'\u{1b}\n</script>";
        let escaped = escaped(text);
        assert!(!escaped.contains(['<', '>', '"', '\'', '\u{1b}', '\n']));
        assert_eq!(escaped.matches('&').count(), 9);
    }
}
