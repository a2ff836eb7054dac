//! The sidecar as a process, seen from outside: its command line, its API, its way to the app,
//! its resources. No server is needed for any of it.

mod api_log;
mod app_channel;
mod check;
mod command_line;
mod demo;
mod deploy;
mod docs;
mod grpc_api;
mod grpc_app;
mod health;
mod hostile;
mod http_api;
mod install;
mod invocation;
mod kubernetes;
mod metrics;
mod operate;
mod pluggable;
mod ports;
mod reload;
mod resiliency;
mod resources;
mod run;
mod run_file;
mod secrets;
mod secrets_api;
mod servers;
mod sockets;
mod support;
mod systemd;
mod tools;
mod traces;
mod whole_path;
