//! Raw client over our stubs, and the stores' placement client.
