# The builder that build-docker.sh runs. Only the program's sources go in: config, stages and
# deploy/ are mounted when it runs.
FROM debian:trixie AS compile
RUN apt-get update \
	&& apt-get install -y --no-install-recommends ca-certificates cargo gcc libc6-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs source-commit ./
COPY src src
COPY examples examples
COPY westwork westwork
RUN cargo build --release --locked --features remote-cache --bin westwork-gen
# What stage 3 compiles for the device, as a workspace of its own with the same versions.
RUN mkdir device \
	&& sed '/^\[package\]/,$d' Cargo.toml >device/Cargo.toml \
	&& cp -a Cargo.lock westwork device/ \
	&& cd device && cargo update --quiet --workspace --offline

FROM debian:trixie
# The last line of packages is for host scripts, which find them in pi-gen's container too. Of the
# emulators, only ARM's are kept.
RUN apt-get update \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		ca-certificates debian-archive-keyring debootstrap dosfstools e2fsprogs erofs-utils gpg \
		gpg-agent hostname minisign mmdebstrap mount mtools openssl qemu-user quilt rsync squashfs-tools \
		tini uidmap xz-utils zstd \
		bc curl file git jq libcap2-bin unzip xxd \
	&& find /usr/bin -name 'qemu-*' ! -name qemu-aarch64 ! -name qemu-arm -delete \
	&& rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
COPY --from=compile /src/target/release/westwork-gen /usr/local/bin/
COPY --from=compile /src/device /usr/local/share/westwork-gen
COPY stages /usr/local/share/westwork-gen/stages
COPY scripts/container-entry /usr/local/bin/
# As process 1, tini passes signals on to the build, and collects what it leaves.
ENTRYPOINT ["tini", "--", "container-entry"]
