//! Numbers of bytes as people write and read them.

use anyhow::{Context, Result};

/// Reads a number of bytes with K, M or G after it (powers of 1024), as the config has it.
///
/// # Errors
/// When the text is not such a number; the message says what to write.
pub fn parse_size(text: &str) -> Result<u64> {
    let (number, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift));
    bytes.with_context(|| {
        format!("{text} is not a size; write a number with K, M or G, such as 512M")
    })
}

/// Bytes in the unit that leaves at most four digits before the point.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 9999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let exact = value.fract() == 0.0;
    format!("{value:.*} {}", usize::from(!exact), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("512M").unwrap(), 512 << 20);
        assert_eq!(parse_size("1G").unwrap(), 1 << 30);
        assert!(parse_size("12 apples").is_err());
    }

    #[test]
    fn sizes_are_short_and_exact_where_they_can_be() {
        assert_eq!(size(12), "12 B");
        assert_eq!(size(512 << 20), "512 MiB");
        assert_eq!(size((512 << 20) + 1), "512.0 MiB");
        assert_eq!(size(9 << 10), "9 KiB");
        assert_eq!(size(64 << 30), "64 GiB");
    }
}
