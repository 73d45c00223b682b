//! Keys as hex, as the ecosystem's tools write them.

/// The bytes that hex stands for; `None` where it is not two digits for each byte. Printed keys are
/// [`types::range::HexKey`].
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_whole_or_refused() {
        assert_eq!(decode("00fFa1"), Some(vec![0, 255, 0xa1]));
        assert_eq!(decode(""), Some(Vec::new()));
        for wrong in ["0", "0g", "ü0", "00 "] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }
}
