//! How much one enter hands over.
//!
//! The kernel does much of an op's work while it takes its submission: a send of 64 KiB is copied
//! there, which takes 15 to 40 µs. Meanwhile no task runs and no timer fires. So what is staged is
//! cut into slices, each of which is one enter: a turn submits the first one and goes on, with
//! timers and tasks between it and the next.

use std::collections::VecDeque;

/// What one slice may weigh: see [`RawSqe::weight`](crate::ring::RawSqe::weight). As many short ops
/// take some 200 µs, and so does half a megabyte that is copied.
const WEIGHT_MAX: u32 = 64;

/// Where the slices of what is staged end. A short op costs nothing here: only the heavy ones are
/// noted.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// The place in the queue, and the weight, of each op that weighs more than 1.
    heavy: VecDeque<(u32, u32)>,
}

impl Slices {
    /// A heavy op is staged at `place`.
    #[cold]
    pub(super) fn staged(&mut self, place: usize, weight: u32) {
        self.heavy.push_back((place as u32, weight));
    }

    /// How many of those `staged` the next enter hands over.
    #[inline]
    pub(super) fn first(&self, staged: usize) -> u32 {
        let staged = staged as u32;
        if self.heavy.is_empty() {
            return staged.min(WEIGHT_MAX);
        }
        self.first_of_heavy(staged)
    }

    #[cold]
    fn first_of_heavy(&self, staged: u32) -> u32 {
        let (mut count, mut left) = (0, WEIGHT_MAX);
        for &(place, weight) in &self.heavy {
            let light = place - count;
            if light >= left {
                break;
            }
            left -= light;
            count = place;
            if weight > left {
                // One that is heavier than a slice goes by itself.
                return count.max(1);
            }
            left -= weight;
            count += 1;
        }
        (count + left).min(staged)
    }

    /// The kernel has taken so many.
    #[inline]
    pub(super) fn submitted(&mut self, taken: usize) {
        if !self.heavy.is_empty() {
            self.heavy_submitted(taken as u32);
        }
    }

    #[cold]
    fn heavy_submitted(&mut self, taken: u32) {
        self.heavy.retain_mut(|(place, _)| {
            let stays = *place >= taken;
            *place = place.saturating_sub(taken);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slices that ops of these weights are cut into.
    fn cut(weights: &[u32]) -> Vec<u32> {
        let mut slices = Slices::default();
        for (place, &weight) in weights.iter().enumerate() {
            if weight > 1 {
                slices.staged(place, weight);
            }
        }
        let mut left = weights.len();
        let mut cut = Vec::new();
        while left > 0 {
            let first = slices.first(left);
            cut.push(first);
            left -= first as usize;
            slices.submitted(first as usize);
        }
        assert!(slices.heavy.is_empty());
        cut
    }

    #[test]
    fn light_ops_go_in_scores_and_heavy_ones_a_few_at_a_time() {
        assert_eq!(cut(&[1; 64]), [64]);
        assert_eq!(cut(&[1; 150]), [64, 64, 22]);
        assert_eq!(cut(&[17; 8]), [3, 3, 2]);
        assert_eq!(cut(&[1000; 3]), [1, 1, 1]);
        assert_eq!(
            cut(&[&[1; 60][..], &[17; 4], &[1; 20]].concat()),
            [60, 3, 21]
        );
    }

    #[test]
    fn what_the_kernel_has_not_taken_comes_first_again() {
        let mut slices = Slices::default();
        (0..8).for_each(|place| slices.staged(place, 17));
        assert_eq!(slices.first(8), 3);
        slices.submitted(1);
        assert_eq!(slices.first(7), 3);
        // More than a slice: a full queue is submitted as it is.
        slices.submitted(6);
        assert_eq!((slices.first(1), slices.first(70)), (1, 48));
        slices.submitted(1);
        assert_eq!(slices.first(70), 64);
    }
}
