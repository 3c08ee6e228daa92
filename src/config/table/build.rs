//! Rows about the tree and about how a build is run.

macro_rules! build_rows {
    (($next:ident $($then:ident)*) $($before:tt)*) => { $next! { ($($then)*) $($before)*
        /// Directories in build order, inside this tree or outside of it; all of stages/ if this is
        /// left out. The lite image leaves stage 2; stage 3 makes a Westwork of it.
        STAGE_LIST stage_list: Vec<PathBuf> = |r| tree::stages(r);
        { group: Group::Stages, kind: Kind::List, default: "", example: "'stages/stage0 stages/stage1 stages/stage2'",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: true, mount: Mount::Folders }

        /// Files and folders of this machine that host scripts may read besides the tree, and write
        /// where `:rw` stands after one. Absolute paths with spaces between them.
        HOST_PATHS host_paths: Vec<HostPath> = |r| r.value(host_paths::host_paths);
        { group: Group::Stages, kind: Kind::List, default: "", example: "'/srv/blobs /srv/out:rw'",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::Marked }

        /// Steps that are run for each image before it is made, from the tree, as pi-gen has them; what
        /// partitions, mounts and compresses is left to the exporter.
        EXPORT_CONFIG_DIR export_config_dir: PathBuf = |r| tree::base_dir(r).join(r.get());
        { group: Group::Stages, kind: Kind::Path, default: "export-image", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: true, mount: Mount::Place }

        /// Directory the tree lives in. Default: where the program is started, or where the config
        /// file is.
        BASE_DIR base_dir: PathBuf = |r| tree::base_dir(r);
        { group: Group::Stages, kind: Kind::Path, default: "", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: true, mount: Mount::Place }

        /// Stage 3's program for the device, compiled already for ARCH; else it is compiled.
        WESTWORK_BIN westwork_bin: Option<PathBuf> = |r| device_program(r);
        { group: Group::Stages, kind: Kind::Path, default: "", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: true, mount: Mount::Place }

        /// Folder for layers and logs of builds.
        WORK_DIR work_dir: PathBuf = |r| r.path();
        { group: Group::Build, kind: Kind::Path, default: "work", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: false, mount: Mount::No }

        /// Folder for downloaded packages, which all builds share.
        CACHE_DIR cache_dir: PathBuf = |r| tree::cache_dir(r);
        { group: Group::Build, kind: Kind::Path, default: "", example: "\"$HOME/.cache/westwork-gen\"",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: false, mount: Mount::No }

        /// A cache that several machines share: a folder, or s3://, gs://, az:// or https:// with the
        /// credentials in the variables that the store's own tools read. Layers, native tools and the
        /// packages of westwork.lock are taken from it; whoever may write there decides what is in
        /// the image.
        CACHE_FROM cache_from: Option<Address> = |r| cache(r);
        { group: Group::Build, kind: Kind::Path, default: "", example: "s3://bucket/westwork",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::Cache }

        /// The shared cache that what is built is given to.
        CACHE_TO cache_to: Option<Address> = |r| cache(r);
        { group: Group::Build, kind: Kind::Path, default: "", example: "s3://bucket/westwork",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::Cache }

        /// A build is not begun with less room than this in WORK_DIR, nor with less than a half of it
        /// for an image as it is, and a sixth for each packed form, in DEPLOY_DIR on another file system.
        MIN_FREE min_free: u64 = |r| r.value(values::size);
        { group: Group::Build, kind: Kind::Size, default: "3G", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::No }

        /// Core that qemu-user emulates, by its name there ("max" is its own default). It changes the
        /// speed of what is emulated, not the image. Default: the oldest one the image is for,
        /// cortex-a53, cortex-a7, or arm1176 for raspios with armhf.
        QEMU_CPU qemu_cpu: Option<String> = |r| r.text(choices::qemu_cpu);
        { group: Group::Build, kind: Kind::Text, default: "", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: false, mount: Mount::No }

        /// 1: forget what earlier builds left.
        CLEAN clean: bool = |r| r.value(values::flag);
        { group: Group::Build, kind: Kind::Flag, default: "0", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Never, image: false, mount: Mount::No }

        /// 1: resume the interrupted build.
        CONTINUE resume: bool = |r| r.value(values::flag);
        { group: Group::Build, kind: Kind::Flag, default: "0", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::No }
    } };
}
