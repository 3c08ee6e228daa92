//! Rows about the image itself, and about the packages it is made of.

macro_rules! image_rows {
    (($next:ident $($then:ident)*) $($before:tt)*) => { $next! { ($($then)*) $($before)*
        /// First part of every file name in the deploy directory. The only key that must be set.
        IMG_NAME img_name: String = |r| required_name(r);
        { group: Group::Image, kind: Kind::Text, default: "", example: "'Westwork'",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Date in file names, YYYY-MM-DD. Default: today, or SOURCE_DATE_EPOCH's day.
        IMG_DATE img_date: String = |r| r.text(values::date).unwrap_or_else(|| day(r));
        { group: Group::Image, kind: Kind::Date, default: "", example: "2026-01-31",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Named, image: true, mount: Mount::No }

        /// Name of the image without suffix (such as "-lite") and extension.
        IMG_FILENAME img_filename: String = |r| image_name(r);
        { group: Group::Image, kind: Kind::Text, default: "", example: "\"${IMG_DATE}-${IMG_NAME}\"",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Named, image: true, mount: Mount::No }

        /// Name of the compressed artefacts without suffix and extension. Default: IMG_FILENAME.
        ARCHIVE_FILENAME archive_filename: String = |r| archive_name(r);
        { group: Group::Image, kind: Kind::Text, default: "", example: "\"${IMG_FILENAME}\"",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Named, image: true, mount: Mount::No }

        /// Seconds since 1970 for every time stamp in the image. The same number, the same packages
        /// and the same stages give the same image. Default: the date of the package archive.
        SOURCE_DATE_EPOCH source_date_epoch: Option<i64> = |r| r.optional(values::seconds);
        { group: Group::Image, kind: Kind::Number(0, i64::MAX), default: "", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Core, image: true, mount: Mount::No }

        /// arm64 (Pi 3, Zero 2 W, Pi 4) or armhf (Pi 2); 'arm64 armhf' for an image of each.
        ARCH arch: Arch = |r| r.value(choices::arch);
        { group: Group::Image, kind: Kind::SomeOf(&["arm64", "armhf"]), default: "arm64", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Core, image: true, mount: Mount::No }

        /// Whose packages: debian, or raspios, which is Raspberry Pi OS: Debian (arm64; Pi 3, Zero 2 W,
        /// Pi 4, Pi 5) or Raspbian (armhf; every Pi), and the Raspberry Pi archive.
        DISTRO distro: Distro = |r| r.value(choices::distro);
        { group: Group::Image, kind: Kind::OneOf(&["debian", "raspios"]), default: "debian", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Core, image: true, mount: Mount::No }

        /// Release of the distribution: bookworm, trixie, stable (whatever that is), forky or sid.
        RELEASE release: String = |r| r.value(choices::release);
        { group: Group::Image, kind: Kind::OneOf(choices::RELEASES), default: "trixie", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Core, image: true, mount: Mount::No }

        /// Archive to build from. Default: the one this machine's apt uses, or for raspios with armhf
        /// http://raspbian.raspberrypi.com/raspbian.
        MIRROR mirror: Option<String> = |r| r.text(values::url);
        { group: Group::Packages, kind: Kind::Url, default: "", example: "http://mirror.example.org/debian",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Core, image: true, mount: Mount::No }

        /// Archive that the finished system uses. Default: the same as MIRROR.
        IMAGE_MIRROR image_mirror: Option<String> = |r| r.text(values::url);
        { group: Group::Packages, kind: Kind::Url, default: "", example: "http://mirror.example.org/debian",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// Proxy for the build alone; it never gets into the image.
        APT_PROXY apt_proxy: Option<String> = |r| r.text(values::url);
        { group: Group::Packages, kind: Kind::Url, default: "", example: "http://192.0.2.1:3142",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Never, image: false, mount: Mount::No }

        /// Seconds without a byte after which a download is given up; it is tried again three times.
        APT_TIMEOUT apt_timeout: u32 = |r| r.value(values::number::<1, 600>);
        { group: Group::Packages, kind: Kind::Number(1, 600), default: "30", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Never, image: false, mount: Mount::No }

        /// An additional line of apt sources for the build alone; the word RELEASE stands for the
        /// release.
        TEMP_REPO temp_repo: Option<String> = |r| r.text(|_| Ok(()));
        { group: Group::Packages, kind: Kind::Text, default: "",
          example: "'deb [trusted=yes] http://192.0.2.1/debian RELEASE main'",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Visible, image: true, mount: Mount::No }

        /// The Raspberry Pi archive, or a copy of it, for raspios.
        RASPBERRYPI_MIRROR raspberrypi_mirror: String = |r| r.checked(values::url);
        { group: Group::Packages, kind: Kind::Url, default: "http://archive.raspberrypi.com/debian", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Placed, layers: Bearing::Core, image: true, mount: Mount::No }

        /// File with the key that signs the Raspberry Pi archive. Default: the one of the keyring
        /// package installed here, or fetched from the archive's own address by HTTPS.
        RASPBERRYPI_KEY raspberrypi_key: Option<PathBuf> = |r| r.file();
        { group: Group::Packages, kind: Kind::Path, default: "",
          example: "/usr/share/keyrings/raspberrypi-archive-keyring.pgp",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::Place }

        /// Fingerprint of the only key that may sign the Raspberry Pi archive. Another one is right
        /// only for an archive that you sign yourself.
        RASPBERRYPI_FINGERPRINT raspberrypi_fingerprint: String = |r| r.value(values::fingerprint);
        { group: Group::Packages, kind: Kind::Text, default: "CF8A1AF502A2AA2D763BAE7E82B129927FA3303E", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::No }

        /// File with the key that signs Raspbian, for raspios with armhf. Default: as for
        /// RASPBERRYPI_KEY.
        RASPBIAN_KEY raspbian_key: Option<PathBuf> = |r| r.file();
        { group: Group::Packages, kind: Kind::Path, default: "",
          example: "/usr/share/keyrings/raspbian-archive-keyring.gpg",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: false, mount: Mount::Place }

        /// Fingerprint of the only key that may sign Raspbian.
        RASPBIAN_FINGERPRINT raspbian_fingerprint: String = |r| r.value(values::fingerprint);
        { group: Group::Packages, kind: Kind::Text, default: "A0DA38D0D76E8B5D638872819165938D90FDDD2E", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::No, layers: Bearing::Never, image: true, mount: Mount::No }

        /// The tool for the first root file system: mmdebstrap or debootstrap.
        BOOTSTRAP bootstrap: Bootstrap = |r| r.value(choices::bootstrap);
        { group: Group::Packages, kind: Kind::OneOf(&["mmdebstrap", "debootstrap"]), default: "mmdebstrap", example: "",
          secrecy: Secrecy::Open, scripts: Scripts::Value, layers: Bearing::Core, image: true, mount: Mount::No }
    } };
}
