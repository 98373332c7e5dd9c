//! The console's files, embedded. Hashed names are cached for a year, the page itself never.

use actix_web::{HttpRequest, HttpResponse, http::{Method, header}};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[exclude = ".gitignore"]
struct Files;

/// Nothing from elsewhere: the console makes no request to any other host.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// Whether this build holds the console.
pub fn is_there() -> bool {
    Files::get("index.html").is_some()
}

/// A file of the console; unknown paths without an extension are its client-side routes.
pub async fn serve(request: HttpRequest) -> HttpResponse {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).content_type("text/plain; charset=utf-8").body("files can only be read");
    }
    let path = request.path().trim_start_matches('/');
    let (name, file) = match Files::get(path) {
        Some(file) => (path, file),
        None if path.starts_with("assets/") || path.contains('.') => return HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("there is nothing at this path"),
        None => match Files::get("index.html") {
            Some(file) => ("index.html", file),
            None => {
                let text = "This build has no browser console. The API is at /v1, its description at /openapi.json.\n";
                return HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(text);
            }
        },
    };
    let mut answer = HttpResponse::Ok();
    let cached = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-store" };
    answer
        .content_type(mime_guess::from_path(name).first_or_octet_stream().as_ref())
        .insert_header((header::CACHE_CONTROL, cached))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
    // Compressed when it was built, where the browser takes it.
    let accepts = request.headers().get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    for (encoding, extension) in [("br", "br"), ("gzip", "gz")] {
        if accepts.contains(encoding) {
            if let Some(small) = Files::get(&format!("{name}.{extension}")) {
                return answer.insert_header((header::CONTENT_ENCODING, encoding)).insert_header((header::VARY, "accept-encoding")).body(small.data.into_owned());
            }
        }
    }
    answer.body(file.data.into_owned())
}
