//! The tree's `postrun.sh`.

use super::{Build, told};
use crate::base::events::Part;
use crate::layers::deployed;
use crate::layers::job::At;
use crate::layers::schedule::Schedule;
use crate::steps::script::{self, Setting};
use anyhow::Result;

impl Build<'_> {
    /// Runs the tree's `postrun.sh`, on the host, once all images are there: when one of them is
    /// new, or the script is.
    pub(super) fn postrun(&mut self, schedule: &Schedule<'_>, exported: bool) -> Result<()> {
        let path = deployed::postrun_of(self.job.config);
        let mut stages = schedule.entries.iter().rev();
        let last = stages.find(|entry| entry.at.exported.is_none());
        let Some(entry) = last.filter(|_| path.is_file()) else {
            return Ok(());
        };
        let key = deployed::postrun_key(&path)?;
        if !exported && self.deployed.postrun.as_ref() == Some(&key) {
            return Ok(());
        }
        let at = At {
            sub_stage: None,
            ..entry.at
        };
        let env = self.env(&at);
        let context = self.context(&at, &[], None, false)?;
        let setting = Setting {
            env: &env,
            context: &context,
        };
        let begun = told::begun("postrun.sh", Part::Postrun, None, &self.timings);
        let mut output = self.output.step("postrun.sh");
        let result = script::host(&path, &setting)?.stream(&mut |line| output.line(line));
        begun.ended(&result, &self.timings);
        match result {
            Ok(()) => {
                output.done();
                self.deployed.postrun = Some(key);
                self.deployed.save(&self.work)
            }
            Err(cause) => {
                let last_lines = output.failed();
                Err(self.failure("postrun.sh", last_lines, cause))
            }
        }
    }
}
