//! Owns S3 test servers: MinIO, and Garage where its image was built. Buckets are made by each server's own means, so
//! that nothing here signs a request.

use std::sync::Arc;
use std::time::Duration;

use testcontainers::{ContainerRequest, CopyTargetOptions, GenericImage, ImageExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::unique_name;
use crate::background;
use crate::docker::{self, Container, Images};

/// The access key of every test server. It has the form that Garage asks for.
pub const ACCESS_KEY: &str = "GK1095407e0000000000007e57";
/// Its secret.
pub const SECRET_KEY: &str = "5ec2e7a05ec2e7a05ec2e7a05ec2e7a05ec2e7a05ec2e7a05ec2e7a05ec2e7a0";
/// What MinIO's client calls its own server.
const ALIAS: &str = "test";
const START_LIMIT: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    Minio,
    Garage,
}

/// An S3 server in a container, reached over plain HTTP on 127.0.0.1.
#[derive(Debug)]
pub struct ObjectServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The container's id, for `docker` commands of a test.
    pub container_id: String,
    product: Product,
    container: Container,
}

/// The shared MinIO server, started at first use.
///
/// # Panics
/// When docker or the image is absent, saying what to run.
pub async fn minio() -> Arc<ObjectServer> {
    static SHARED: OnceCell<Arc<ObjectServer>> = OnceCell::const_new();
    SHARED.get_or_init(|| async { Arc::new(start_minio().await) }).await.clone()
}

/// The shared Garage server; `None`, said loudly, where its image was not made: `scripts/servers up all` makes it.
pub async fn garage() -> Option<Arc<ObjectServer>> {
    static SHARED: OnceCell<Arc<ObjectServer>> = OnceCell::const_new();
    let image = Images::chosen().pick(("dxflrs/garage", "v2.5.0"), ("longshore-test/garage", "2.5"));
    if Images::chosen() == Images::Local && !docker::has_image(&image) {
        crate::skipped("no Garage image on this machine; `scripts/servers up all` makes it");
        return None;
    }
    Some(SHARED.get_or_init(|| async { Arc::new(start_garage(image).await) }).await.clone())
}

impl ObjectServer {
    /// A repository URL in a fresh, empty bucket. Credentials: `ACCESS_KEY` and `SECRET_KEY`.
    pub async fn bucket(&self) -> String {
        self.url(&self.create_bucket().await, self.port)
    }

    /// A fresh, empty bucket's name.
    pub async fn create_bucket(&self) -> String {
        let name = unique_name("test", '-');
        match self.product {
            // A directory of the only drive is a bucket.
            Product::Minio => self.exec(&["mkdir", &format!("/data/{name}")]),
            Product::Garage => {
                self.exec(&["/garage", "bucket", "create", &name]);
                self.exec(&["/garage", "bucket", "allow", "--read", "--write", "--owner", &name, "--key", ACCESS_KEY]);
            }
        }
        name
    }

    /// The repository URL of a bucket by way of `port`: the server's own or a proxy's.
    pub fn url(&self, bucket: &str, port: u16) -> String {
        format!("s3://{bucket}/repo?endpoint=http://127.0.0.1:{port}&region={}&path_style=true", self.region())
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &'static str {
        match self.product {
            Product::Minio => "us-east-1",
            Product::Garage => "garage",
        }
    }

    /// A fresh, empty bucket that keeps older versions; with `retention` (`COMPLIANCE 1d`) every object in it is locked.
    /// MinIO only.
    pub async fn create_versioned_bucket(&self, retention: Option<(&str, &str)>) -> String {
        let name = unique_name("test", '-');
        let place = format!("{ALIAS}/{name}");
        match retention {
            None => {
                self.mc(&["mb", &place]);
                self.mc(&["version", "enable", &place]);
            }
            Some((mode, length)) => {
                self.mc(&["mb", "--with-lock", &place]);
                self.mc(&["retention", "set", "--default", mode, length, &place]);
            }
        }
        name
    }

    /// A new user that may do what this policy says, and nothing else: its access key and its secret. MinIO only.
    pub fn user(&self, policy: &str) -> (String, String) {
        let name = unique_name("u", '-');
        self.try_policy(&name, policy)
            .unwrap_or_else(|error| panic!("the server refuses the policy: {error}\n{policy}"));
        let secret = format!("secret-of-{name}");
        self.mc(&["admin", "user", "add", ALIAS, &name, &secret]);
        self.mc(&["admin", "policy", "attach", ALIAS, &name, "--user", &name]);
        (name, secret)
    }

    /// Whether the server takes a policy; what it says when it does not. MinIO only.
    pub fn try_policy(&self, name: &str, policy: &str) -> Result<(), String> {
        let file = format!("/tmp/{name}.json");
        self.exec(&["sh", "-c", "printf %s \"$1\" >\"$2\"", "sh", policy, &file]);
        self.try_mc(None, &["admin", "policy", "create", ALIAS, name, &file]).map(drop)
    }

    /// Runs MinIO's client as the administrator; the server is called `test`. MinIO only.
    pub fn mc(&self, arguments: &[&str]) -> String {
        self.try_mc(None, arguments).unwrap_or_else(|error| panic!("mc {}: {error}", arguments.join(" ")))
    }

    /// The same as `user` (access key, secret), or as the administrator. The error is what the client says.
    pub fn try_mc(&self, user: Option<(&str, &str)>, arguments: &[&str]) -> Result<String, String> {
        let (key, secret) = user.unwrap_or((ACCESS_KEY, SECRET_KEY));
        let host = format!("MC_HOST_{ALIAS}=http://{key}:{secret}@127.0.0.1:9000");
        self.container.exec("0", &[&["env", &host, "mc", "--quiet"], arguments].concat())
    }

    /// A plain put as `user`, which replaces what is there; `object` is a bucket and a key. MinIO only.
    pub fn replace(&self, user: (&str, &str), object: &str, text: &str) -> Result<(), String> {
        let file = format!("/tmp/{}", unique_name("put", '-'));
        self.exec(&["sh", "-c", "printf %s \"$1\" >\"$2\"", "sh", text, &file]);
        self.try_mc(Some(user), &["put", "--disable-multipart", &file, &format!("{ALIAS}/{object}")]).map(drop)
    }

    /// Whether MinIO's client is in the image; said loudly when it is not.
    pub fn has_client(&self) -> bool {
        let there = self.container.exec("0", &["mc", "--version"]).is_ok();
        if !there {
            crate::skipped("MinIO's image is without its client mc; `scripts/servers up` makes it again");
        }
        there
    }

    fn exec(&self, command: &[&str]) {
        self.container.exec("0", command).unwrap_or_else(|error| panic!("{:?}: {error}", self.product));
    }

    /// Waits until `path` answers with one of `statuses`.
    async fn wait_until_ready(&self, path: &str, statuses: &[u16]) {
        let ready = background::until(START_LIMIT, || async {
            if !self.container.is_running() {
                panic!("{:?} ended while starting:\n{}", self.product, self.container.log_tail());
            }
            statuses.contains(&status_of(self.port, path).await?).then_some(())
        });
        if ready.await.is_none() {
            panic!("{:?} did not answer within {START_LIMIT:?}:\n{}", self.product, self.container.log_tail());
        }
    }
}

async fn start_minio() -> ObjectServer {
    let image = Images::chosen().pick(("minio/minio", "latest"), ("longshore-test/minio", "latest"));
    let configure = |request: ContainerRequest<GenericImage>| {
        request
            .with_cmd(["server", "/data"])
            .with_env_var("MINIO_ROOT_USER", ACCESS_KEY)
            .with_env_var("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .with_env_var("MINIO_BROWSER", "off")
            .with_env_var("MINIO_UPDATE", "off")
    };
    let container = Container::start(image, 9000, configure).await;
    let server =
        ObjectServer { port: container.port, container_id: container.id.clone(), product: Product::Minio, container };
    server.wait_until_ready("/minio/health/ready", &[200]).await;
    server
}

const GARAGE_TOML: &str = r#"
metadata_dir = "/var/lib/garage/meta"
data_dir = "/var/lib/garage/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:3901"
rpc_public_addr = "127.0.0.1:3901"
rpc_secret = "7e577e577e577e577e577e577e577e577e577e577e577e577e577e577e577e57"

[s3_api]
s3_region = "garage"
api_bind_addr = "0.0.0.0:3900"
"#;

async fn start_garage(image: (String, String)) -> ObjectServer {
    let configure = |request: ContainerRequest<GenericImage>| {
        request
            .with_cmd(["/garage", "server"])
            .with_copy_to(CopyTargetOptions::new("/etc/garage.toml").with_mode(0o600), GARAGE_TOML.as_bytes().to_vec())
    };
    let container = Container::start(image, 3900, configure).await;
    let server =
        ObjectServer { port: container.port, container_id: container.id.clone(), product: Product::Garage, container };
    // Until the node has a place in the layout every request is answered with 403 or 503.
    server.wait_until_ready("/", &[403, 503]).await;
    let node = server.container.exec("0", &["/garage", "node", "id", "-q"]);
    let node = node.unwrap_or_else(|error| panic!("read Garage's node id: {error}"));
    let node = node.split('@').next().unwrap_or_default().trim().to_owned();
    server.exec(&["/garage", "layout", "assign", "-z", "test", "-c", "1G", &node]);
    server.exec(&["/garage", "layout", "apply", "--version", "1"]);
    server.exec(&["/garage", "key", "import", "--yes", "-n", "test", ACCESS_KEY, SECRET_KEY]);
    server
}

/// The status of a plain GET; `None` when there is no answer.
async fn status_of(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}
