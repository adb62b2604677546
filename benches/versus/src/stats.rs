//! Medians, and ratios between columns that were measured in turn.

/// The middle value; the mean of the two middle ones of an even number. `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

/// One column's values against another's, each with the round that it was taken in.
///
/// The two say different things: a machine that slows down for a few rounds moves the first as it
/// likes, and the second only if it slows down in the middle of a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    /// Median divided by median.
    pub(crate) of_medians: f64,
    /// Median over the rounds that both have of value divided by value.
    pub(crate) per_round: f64,
}

/// `None` where either has no value, they share no round, or the base is zero.
pub(crate) fn ratio(values: &[(u32, f64)], base: &[(u32, f64)]) -> Option<Ratio> {
    let middle = |of: &[(u32, f64)]| median(&of.iter().map(|&(_, v)| v).collect::<Vec<_>>());
    let per_round: Vec<f64> = values
        .iter()
        .filter_map(|&(round, value)| {
            let &(_, under) = base.iter().find(|&&(other, _)| other == round)?;
            Some(value / under)
        })
        .collect();
    let result = Ratio {
        of_medians: middle(values)? / middle(base)?,
        per_round: median(&per_round)?,
    };
    (result.of_medians.is_finite() && result.per_round.is_finite()).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ratio_pairs_values_by_round_whatever_their_order() {
        let base = [(0, 100.0), (1, 200.0), (2, 400.0)];
        let column = [(2, 800.0), (0, 110.0), (1, 220.0)];
        let ratio = ratio(&column, &base).expect("all rounds are there");
        assert_eq!(ratio.of_medians, 220.0 / 200.0);
        assert_eq!(ratio.per_round, 1.1);
    }

    #[test]
    fn per_round_ratio_is_blind_to_a_machine_that_slows_down_between_rounds() {
        let base = [(0, 10.0), (1, 10.0), (2, 20.0)];
        let column = [(0, 11.0), (1, 22.0), (2, 22.0)];
        let ratio = ratio(&column, &base).expect("all rounds are there");
        assert_eq!(ratio.of_medians, 2.2);
        assert_eq!(ratio.per_round, 1.1);
    }

    #[test]
    fn ratio_skips_rounds_that_only_one_column_has() {
        let ratio = ratio(&[(0, 1.0), (1, 3.0)], &[(1, 2.0), (2, 9.0)]).expect("round 1");
        assert_eq!(ratio.per_round, 1.5);
    }

    #[test]
    fn no_ratio_to_nothing_or_zero() {
        assert_eq!(ratio(&[(0, 1.0)], &[]), None);
        assert_eq!(ratio(&[(0, 1.0)], &[(1, 1.0)]), None);
        assert_eq!(ratio(&[(0, 1.0)], &[(0, 0.0)]), None);
    }
}
