//! Envoy in front of the order service: the node's ingress as a process, configured as Contour does for a
//! path of an `Ingress`. Everything else is Envoy's own default.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use rocketmart_harness::process::Server;
use rocketmart_harness::stack::Component;
use rocketmart_harness::{ports, prepare};
use serde_json::json;

use super::shop::{START_LIMIT, Shop};

pub(crate) const NAME: &str = "envoy";

impl Shop {
    /// Starts Envoy in front of the order service and returns its address.
    pub(crate) fn start_ingress(&mut self) -> Result<SocketAddr> {
        let port = ports::free_port()?;
        let folder = self.folder();
        let configuration = folder.join("envoy.json");
        let written = serde_json::to_vec_pretty(&configuration_of(port, self.address(Component::Order)?))?;
        std::fs::write(&configuration, written).context("Envoy's configuration")?;
        let server = Server {
            name: NAME,
            program: prepare::envoy()?.join("envoy"),
            arguments: ["--config-path", &configuration.display().to_string(), "--log-level", "warning"]
                .map(str::to_owned)
                .into(),
            environment: Vec::new(),
            log: folder.join("envoy.log"),
            user: None,
        };
        let process = server.start(port, START_LIMIT)?;
        self.add_helper(NAME, process);
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

fn configuration_of(port: u16, upstream: SocketAddr) -> serde_json::Value {
    let address =
        |address: &str, port: u16| json!({"socket_address": {"address": address, "port_value": port}});
    let filters = "type.googleapis.com/envoy.extensions.filters";
    json!({"static_resources": {
        "listeners": [{
            "name": "http",
            "address": address("127.0.0.1", port),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("{filters}.network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": "http",
                    "route_config": {"virtual_hosts": [{
                        "name": "shop",
                        "domains": ["*"],
                        "routes": [{
                            "match": {"prefix": "/api/v1/"},
                            "route": {"cluster": "order"},
                        }],
                    }]},
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": {"@type": format!("{filters}.http.router.v3.Router")},
                    }],
                },
            }]}],
        }],
        "clusters": [{
            "name": "order",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "order", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(&upstream.ip().to_string(), upstream.port())}},
            ]}]},
        }],
    }})
}
