//! How the build's programs learn of `APT_PROXY`: the one place, for http and https alike.
//!
//! apt of the build machine gets options, which count more than its own configuration; apt of the
//! image a configuration that ends with the build; everything else the usual variables.

/// Schemes that a proxy is for.
const SCHEMES: [&str; 2] = ["http", "https"];

/// Options of apt's programs.
pub fn apt_options(proxy: Option<&str>) -> Vec<String> {
    of(proxy, |scheme, proxy| {
        format!("-oAcquire::{scheme}::Proxy={proxy}")
    })
}

/// Lines of apt.conf(5).
pub fn apt_conf(proxy: Option<&str>) -> String {
    of(proxy, |scheme, proxy| {
        format!("Acquire::{scheme}::Proxy \"{proxy}\";\n")
    })
    .concat()
}

/// Variables for programs that go by them: mmdebstrap, debootstrap, cargo, pip. One that this
/// process has, as an exported one of the config, counts more, also if it is empty: a proxy for
/// apt alone, such as apt-cacher-ng, knows no crates and no wheels.
pub fn variables(proxy: Option<&str>) -> Vec<(String, String)> {
    let mut found = of(proxy, |scheme, proxy| {
        (format!("{scheme}_proxy"), proxy.to_owned())
    });
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        if let Some(own) = std::env::var_os(name).and_then(|own| own.into_string().ok()) {
            found.retain(|(other, _)| other != name);
            found.push((name.to_owned(), own));
        }
    }
    found
}

fn of<T>(proxy: Option<&str>, each: impl Fn(&str, &str) -> T) -> Vec<T> {
    let proxy = proxy.filter(|proxy| !proxy.is_empty());
    let schemes = SCHEMES.iter().filter(|_| proxy.is_some());
    schemes
        .map(|scheme| each(scheme, proxy.unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_get_it_everywhere() {
        let proxy = Some("http://proxy:3142");
        assert_eq!(
            apt_options(proxy),
            [
                "-oAcquire::http::Proxy=http://proxy:3142",
                "-oAcquire::https::Proxy=http://proxy:3142"
            ]
        );
        assert_eq!(
            apt_conf(proxy),
            "Acquire::http::Proxy \"http://proxy:3142\";\nAcquire::https::Proxy \"http://proxy:3142\";\n"
        );
        let names: Vec<_> = variables(proxy).into_iter().map(|(name, _)| name).collect();
        assert!(
            names.contains(&"http_proxy".to_owned()) && names.contains(&"https_proxy".to_owned())
        );
    }

    #[test]
    fn without_one_nothing_is_said() {
        for none in [None, Some("")] {
            assert!(apt_options(none).is_empty() && apt_conf(none).is_empty());
        }
    }
}
