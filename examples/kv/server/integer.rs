//! Integers as Redis reads them: decimal, without a sign but `-`, blanks or leading zeros.

/// The integer that the whole text is, if it is one.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    // By far the most integers that come are lengths of one digit.
    if let [digit @ b'0'..=b'9'] = text {
        return Some(i64::from(digit - b'0'));
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value: i64 = 0;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Downwards, since there is one negative number more.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative {
        Some(value)
    } else {
        value.checked_neg()
    }
}
