//! Chain client, store, follower and sender, on a chain in this process.

#[path = "chain/connect.rs"]
mod connect;
#[path = "chain/deploy.rs"]
mod deploy;
#[path = "chain/follow.rs"]
mod follow;
#[path = "chain/proxy.rs"]
mod proxy;
#[path = "chain/random.rs"]
mod random;
#[path = "chain/send.rs"]
mod send;
#[path = "chain/store.rs"]
mod store;
#[path = "chain/world.rs"]
mod world;
