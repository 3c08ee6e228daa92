//! Object stores (S3, Google Cloud Storage, Azure, HTTP with WebDAV's methods), by the
//! object_store crate. Credentials and endpoints come from the environment variables that
//! each store's own tools read (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_…`, `AZURE_…`).

use super::objects::Objects;
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Name;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload, RetryConfig, WriteMultipart,
};
use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// Up to this size an object is sent in one request; S3 takes parts from 5 MiB on.
const ONE_REQUEST: u64 = 32 << 20;

pub(super) struct Remote {
    store: Box<dyn ObjectStore>,
    prefix: Name,
    runtime: Runtime,
}

impl Remote {
    pub(super) fn open(address: &str) -> Result<Self> {
        // A second call finds the first one's provider, which is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = Url::parse(address).context("reading the address")?;
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).context("reading the address")?;
        // A cache that is away for a moment is worth waiting for; one that is gone is not.
        let retry = RetryConfig {
            max_retries: 4,
            retry_timeout: Duration::from_secs(30),
            ..RetryConfig::default()
        };
        let store: Box<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::AmazonS3 => Box::new(
                AmazonS3Builder::from_env()
                    .with_url(address)
                    .with_retry(retry)
                    .build()?,
            ),
            ObjectStoreScheme::GoogleCloudStorage => Box::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_url(address)
                    .with_retry(retry)
                    .build()?,
            ),
            ObjectStoreScheme::MicrosoftAzure => Box::new(
                MicrosoftAzureBuilder::from_env()
                    .with_url(address)
                    .with_retry(retry)
                    .build()?,
            ),
            ObjectStoreScheme::Http => {
                // Whether plain HTTP is wanted was decided where the address was read.
                let options = object_store::ClientOptions::new()
                    .with_allow_http(url.scheme() == "http")
                    .with_timeout(Duration::from_secs(300));
                Box::new(
                    HttpBuilder::new()
                        .with_url(&url[..url::Position::BeforePath])
                        .with_client_options(options)
                        .with_retry(retry)
                        .build()?,
                )
            }
            _ => bail!("no object store is known by this address"),
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("starting the network client")?;
        Ok(Self {
            store,
            prefix: Name::parse(prefix).context("reading the address")?,
            runtime,
        })
    }

    fn name(&self, name: &str) -> Name {
        name.split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    async fn send(&self, name: &Name, from: &mut File) -> Result<()> {
        let size = from.metadata()?.len();
        let mut payload = Vec::new();
        if size > ONE_REQUEST {
            match self.store.put_multipart(name).await {
                Ok(upload) => {
                    let mut writer = WriteMultipart::new_with_chunk_size(upload, 8 << 20);
                    let mut buffer = vec![0; 1 << 20];
                    loop {
                        let n = from.read(&mut buffer)?;
                        if n == 0 {
                            writer.finish().await?;
                            return Ok(());
                        }
                        writer.wait_for_capacity(4).await?;
                        writer.write(&buffer[..n]);
                    }
                }
                // Plain HTTP has no parts.
                Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        from.read_to_end(&mut payload)?;
        self.store.put(name, PutPayload::from(payload)).await?;
        Ok(())
    }
}

impl Objects for Remote {
    fn get(&self, name: &str, limit: u64, to: &mut File) -> Result<bool> {
        let name = self.name(name);
        let fetch = async {
            let object = match self.store.get(&name).await {
                Ok(object) => object,
                Err(Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let (mut chunks, mut size) = (object.into_stream(), 0);
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                to.write_all(&chunk)?;
                size += chunk.len() as u64;
                if size > limit {
                    break;
                }
            }
            Ok(true)
        };
        let result: Result<bool> = self.runtime.block_on(fetch);
        result.with_context(|| format!("fetching {name}"))
    }

    fn put(&self, name: &str, from: &mut File) -> Result<()> {
        let name = self.name(name);
        self.runtime
            .block_on(self.send(&name, from))
            .with_context(|| format!("storing {name}"))
    }

    fn has(&self, name: &str) -> Result<bool> {
        let name = self.name(name);
        match self.runtime.block_on(self.store.head(&name)) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("asking for {name}")),
        }
    }
}
