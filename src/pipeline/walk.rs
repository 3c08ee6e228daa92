//! The order of a build: every step, and each image as soon as its last step is there.

use crate::layers::schedule::{Image, Schedule};
use anyhow::Result;

/// What is done at each place of a schedule.
pub trait Walk {
    /// A step, by its index in the schedule, of which the rest may be another one afterwards.
    ///
    /// # Errors
    /// When the walk is to end here.
    fn step(&mut self, schedule: &mut Schedule<'_>, index: usize) -> Result<()>;

    /// An image of the layers up to `image.tip`, the step before.
    ///
    /// # Errors
    /// When the walk is to end here.
    fn image(&mut self, schedule: &Schedule<'_>, image: &Image<'_>) -> Result<()>;
}

/// Takes `walker` through all of `schedule`.
///
/// # Errors
/// The first one of the walker.
pub fn walk(schedule: &mut Schedule<'_>, walker: &mut impl Walk) -> Result<()> {
    for index in 0..schedule.entries.len() {
        walker.step(schedule, index)?;
        for image in schedule.images_of(index) {
            walker.image(schedule, image)?;
        }
    }
    Ok(())
}
