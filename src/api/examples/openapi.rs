//! Prints the OpenAPI document.

fn main() {
    println!("{}", api::openapi());
}
