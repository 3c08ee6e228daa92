//! Rows about what lies in the deploy directory in the end, and how the image is divided.

macro_rules! artefact_rows {
    (($next:ident $($then:ident)*) $($before:tt)*) => { $next! { ($($then)*) $($before)*
        /// Where the artefacts go.
        DEPLOY_DIR deploy_dir: PathBuf = |r| r.path();
        { group: Group::Artefacts, kind: Kind::Path, default: "deploy", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Never, image: true, mount: Mount::Deploy }

        /// Forms of the image: one or more of none (the .img itself), zip, gz, xz and zst, such as "zst xz".
        DEPLOY_COMPRESSION compression: Vec<Compression> = |r| choices::formats(r);
        { group: Group::Artefacts, kind: Kind::SomeOf(&Compression::WORDS), default: "zst", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Never, image: true, mount: Mount::No }

        /// Level of the compression, 0 to 9. Default: each format's own.
        COMPRESSION_LEVEL compression_level: Option<u8> = |r| r.optional(choices::level);
        { group: Group::Artefacts, kind: Kind::Number(0, 9), default: "", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Never, image: true, mount: Mount::No }

        /// How many processors pack the image at once. Fewer need less memory: xz takes some 170 MB
        /// for each, zst 100. The bytes are the same. Default: all that are there.
        COMPRESSION_THREADS compression_threads: Option<u32> = |r| r.optional(values::number::<1, 1024>);
        { group: Group::Artefacts, kind: Kind::Number(1, 1024), default: "", example: "2",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::No }

        /// Where the files will be published, for the manifest that Raspberry Pi Imager opens.
        /// Default: where they lie.
        DEPLOY_URL deploy_url: Option<String> = |r| r.text(values::url);
        { group: Group::Artefacts, kind: Kind::Url, default: "", example: "https://example.org/images",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::No }

        /// NAME.html beside the image: a page about what is in it, and why it is so big.
        DEPLOY_REPORT deploy_report: bool = |r| r.value(values::flag);
        { group: Group::Artefacts, kind: Kind::Flag, default: "1", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::No }

        /// Who signs SHA256SUMS: minisign:FILE (a secret key without a pass phrase) or gpg:KEY.
        SIGN_WITH sign_with: Option<Signer> = |r| signer(r);
        { group: Group::Artefacts, kind: Kind::Text, default: "", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::SigningKey }

        /// Size of the boot partition.
        BOOT_SIZE boot_size: u64 = |r| r.value(choices::boot_size);
        { group: Group::Artefacts, kind: Kind::Size, default: "512M", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::No }

        /// Free space left in the root file system, which grows to the card at first boot.
        ROOT_MARGIN root_margin: u64 = |r| r.value(values::size);
        { group: Group::Artefacts, kind: Kind::Size, default: "64M", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::No }

        /// Partition table: mbr or gpt. A Pi 3 or newer starts from a GPT; older ones do not.
        PARTITION_TABLE disk: Disk = |r| disk::read(r);
        { group: Group::Artefacts, kind: Kind::OneOf(&["mbr", "gpt"]), default: "mbr", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::No }
    } };
}
