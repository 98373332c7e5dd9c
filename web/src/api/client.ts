import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Session = Schemas["SessionView"];
export type LocalModel = Schemas["LocalModel"];
export type Download = Schemas["Download"];
export type KeyView = Schemas["KeyView"];

/** What the server refuses with: a code to tell cases apart and a sentence for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly param?: string,
    /** Seconds until another try makes sense. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

let csrf = "";
/** Every change is sent with the session's token. */
export function setCsrf(token: string) {
  csrf = token;
}
export function csrfHeader(): Record<string, string> {
  return csrf ? { "X-CSRF-Token": csrf } : {};
}

let signedOut: () => void = () => {};
/** Called when the server says that the session is over. */
export function onSignedOut(handler: () => void) {
  signedOut = handler;
}

/** The error in an answer, in our shape or OpenAI's. */
export async function errorOf(response: Response): Promise<ApiError> {
  const body = await response.json().catch(() => null);
  const inner = body?.error ?? body;
  const wait = Number(response.headers.get("retry-after"));
  return new ApiError(
    response.status,
    inner?.code ?? "unknown",
    inner?.message ?? `${response.status} ${response.statusText}`,
    inner?.param ?? undefined,
    Number.isFinite(wait) && wait > 0 ? wait : undefined,
  );
}

const guard: Middleware = {
  onRequest({ request }) {
    if (request.method !== "GET" && csrf) request.headers.set("X-CSRF-Token", csrf);
    return request;
  },
  async onResponse({ response, schemaPath }) {
    if (response.ok) return response;
    if (response.status === 401 && schemaPath !== "/console/api/session" && schemaPath !== "/console/api/login") signedOut();
    throw await errorOf(response);
  },
  onError() {
    return new ApiError(0, "offline", "offline");
  },
};

export const api = createClient<paths>({
  baseUrl: window.location.origin,
  credentials: "same-origin",
  fetch: (request) => globalThis.fetch(request),
});
api.use(guard);

/** The body of an answer; errors were thrown before. */
export async function body<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
