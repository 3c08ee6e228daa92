//! A shell in what the last build made, in the same sandbox as its steps. Changes are thrown
//! away, or kept aside for the next such shell; they never get into an image.

use super::{in_sandbox, request, variants};
use crate::archives::mirror::Mirrors;
use crate::archives::pool::{Archives, Keys};
use crate::base::arch::is_foreign;
use crate::base::command::Env;
use crate::base::tool::{self, Task};
use crate::base::work;
use crate::check;
use crate::cli::ConfigArgs;
use crate::config::Config;
use crate::layers::context::Context as Told;
use crate::layers::progress::Progress;
use crate::layers::store::{Key, Store};
use crate::layers::variables::Place;
use crate::native::dispatch::Dispatch;
use crate::plan::Plan;
use crate::sandbox::Terminal;
use crate::sandbox::rootfs::EMULATOR_VAR;
use crate::steps::apt;
use crate::steps::script::{self, Setting};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// `shell`: opens one in what the last build made, or where it failed.
pub(super) fn shell(args: &ConfigArgs, at: Option<&str>, keep: bool) -> Result<u8> {
    let (config, plan) = check::ready_for(Task::Shell, &variants::only(&request(args)?, "shell")?)?;
    // Nothing is made where nothing was built.
    Progress::load(&config)?;
    let _held = work::hold(&config.work_dir, "shell")?;
    in_sandbox(&config, &plan, Terminal::Shared, |ids| {
        open(&config, &plan, at, keep, ids)
    })
}

/// Opens the shell after the stage or step `at`, or where the last build stopped.
///
/// # Errors
/// When nothing was built yet, or no stage or step has that name.
fn open(config: &Config, plan: &Plan, at: Option<&str>, keep: bool, ids: &str) -> Result<u8> {
    let progress = Progress::load(config)?;
    let store = Store::open(&config.work_dir, ids)?;
    let mount_point = config.work().join("shell");
    let (name, mut stack) = match last_step(&progress, at)? {
        Some((name, key)) => (name.clone(), store.stack(key)),
        None => ("the beginning".to_owned(), Vec::new()),
    };
    let failed = progress
        .failed
        .as_ref()
        .filter(|(_, key)| at.is_none() && store.has_failed(key));
    if let Some((_, key)) = failed {
        stack = store.stack_of_failed(key)?;
    }
    let place = match failed {
        Some((step, _)) => format!("Inside {step}, as it failed"),
        None => format!("After {name}"),
    };
    let changes = if keep {
        "Changes are kept for the next `shell --keep` here"
    } else {
        "Changes are thrown away"
    };
    println!("{place}. {changes}; leave with `exit`.");
    let (_view, kept) = store.look_into(&stack, failed.map(|(_, key)| key), keep, &mount_point)?;
    let mut env = variables(config, plan, name)?;
    let mut note = |text: &str| println!("note: {text}");
    let mut archives = Archives::open(&config.cache_dir, config.pool(), Keys::none(), &mut note)?;
    // What a shell downloads goes with it.
    let staging = archives.staging(&config.work(), "")?;
    let mut told = Told::new(config, &Mirrors::resolve(config));
    told.furniture.archives = Some(staging.dir().to_owned());
    told.furniture.apt_conf = Some(apt::build_conf(config, false));
    // Kept until the shell ends.
    let dispatch = emulated(config, &mut env)?;
    told.furniture.tools = dispatch.as_ref().map(|tools| tools.dir().to_owned());
    let context = Path::new("/run/context.json");
    std::fs::write(context, told.text()?).context("writing what the shell is told")?;
    let setting = Setting { env: &env, context };
    let root = mount_point.join("rootfs");
    let code = script::chroot_program(&root, &["bash", "--login"], &setting).interactive()?;
    drop(staging);
    if let Some(kept) = kept {
        println!("The changes lie in {}.", kept.display());
    }
    Ok(u8::try_from(code).unwrap_or(1))
}

/// The variables of the shell, which says `name` in its prompt.
fn variables(config: &Config, plan: &Plan, name: String) -> Result<Env> {
    let stage = plan.stages.first().context("the plan has no stage")?;
    let place = Place {
        stage,
        previous: None,
        sub_stage: None,
        exported: None,
        work: &config.work(),
        img_suffix: "",
    };
    let mut env = crate::layers::variables::of(config, &Mirrors::resolve(config), &place);
    let terminal = std::env::var_os("TERM").and_then(|name| name.into_string().ok());
    env.insert(
        "TERM".to_owned(),
        terminal.unwrap_or_else(|| "dumb".to_owned()),
    );
    env.insert("debian_chroot".to_owned(), name);
    Ok(env)
}

/// Makes the target's programs runnable, all of them emulated: a shell has few of them.
fn emulated(config: &Config, env: &mut Env) -> Result<Option<Dispatch>> {
    let emulator = tool::emulator(config.arch).filter(|_| is_foreign(config.arch));
    let Some(emulator) = emulator else {
        return Ok(None);
    };
    // Before Linux 6.7 the host's own handler counts.
    let Ok(dispatch) = Dispatch::new(config, &emulator, &config.work().join("tools")) else {
        return Ok(None);
    };
    let emulator = emulator.to_string_lossy().into_owned();
    env.insert(EMULATOR_VAR.to_owned(), emulator);
    Ok(Some(dispatch))
}

/// The last step of stage `at`, or the step `at`, or the last one that was built.
fn last_step<'a>(progress: &'a Progress, at: Option<&str>) -> Result<Option<&'a (String, Key)>> {
    let Some(at) = at else {
        return Ok(progress.steps.last());
    };
    let at = at.trim_end_matches('/');
    let of_stage = format!("{at}/");
    let mut down = progress.steps.iter().rev();
    match down.find(|(name, _)| name == at || name.starts_with(&of_stage)) {
        Some(step) => Ok(Some(step)),
        None => {
            bail!("the last build has no stage or step {at}; `westwork-gen plan` lists them")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::store::Inputs;

    #[test]
    fn a_stage_means_its_last_step() {
        let key = Key::new(None, &Inputs::new());
        let steps = ["s0/prerun.sh", "s0/00-a/00-run.sh", "s1/00-b/00-run.sh"];
        let progress = Progress {
            steps: steps
                .iter()
                .map(|name| ((*name).to_owned(), key.clone()))
                .collect(),
            ..Progress::default()
        };
        let last = |at| last_step(&progress, at).unwrap().unwrap().0.as_str();
        assert_eq!(last(Some("s0")), "s0/00-a/00-run.sh");
        assert_eq!(last(Some("s0/prerun.sh")), "s0/prerun.sh");
        assert_eq!(last(None), "s1/00-b/00-run.sh");
        assert!(last_step(&progress, Some("s9")).is_err());
    }
}
