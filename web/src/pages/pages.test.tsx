import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { App } from "../App";
import "../i18n";
import { toPython } from "../ui/samples";
import { requestBody } from "./playground/request";
import { strength } from "./SetUp";

type Answer = { status?: number; body: unknown; headers?: Record<string, string> };
let asked: { method: string; path: string; body: string }[] = [];

/** A server of fixed answers by `METHOD path`. */
function serve(answers: Record<string, Answer>) {
  asked = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    const path = new URL(request.url, "http://localhost").pathname;
    asked.push({ method: request.method, path, body: await request.clone().text() });
    const answer = answers[`${request.method} ${path}`] ?? {
      status: 404,
      body: { code: "not_found", message: "not here", status: 404 },
    };
    return new Response(JSON.stringify(answer.body), {
      status: answer.status ?? 200,
      headers: { "content-type": "application/json", ...answer.headers },
    });
  });
}

function show(path: string) {
  window.history.replaceState(null, "", path);
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  return render(
    <MantineProvider env="test">
      <QueryClientProvider client={client}>
        <App />
      </QueryClientProvider>
    </MantineProvider>,
  );
}

const signedOut = {
  "GET /console/api/session": { status: 401, body: { code: "unauthorized", message: "sign in", status: 401 } },
};
const setup = (needed: boolean) => ({
  "GET /console/api/setup": { body: { needed, version: "0.1.0", instance_name: "Filbert", default_language: "en" } },
});

beforeEach(() => localStorage.clear());
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test("a new installation asks for its owner wherever one enters", async () => {
  serve({ ...signedOut, ...setup(true) });
  show("/models");
  expect(await screen.findByRole("heading", { name: "Welcome to Filbert" })).toBeTruthy();
  expect(window.location.pathname).toBe("/setup");
});

test("a refused sign-in says why and empties the password", async () => {
  serve({
    ...signedOut,
    ...setup(false),
    "POST /console/api/login": {
      status: 401,
      body: { code: "invalid_credentials", message: "email or password is wrong", status: 401 },
    },
  });
  show("/keys");
  const user = userEvent.setup();
  await user.type(await screen.findByRole("textbox", { name: /Email/ }), "a@b.c");
  const password = document.querySelector<HTMLInputElement>("input[type=password]");
  await user.type(password as HTMLInputElement, "nonsense");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  expect((await screen.findByRole("alert")).textContent).toContain("email or password is wrong");
  expect(document.querySelector<HTMLInputElement>("input[type=password]")?.value).toBe("");
  expect(asked.some((a) => a.path === "/console/api/login" && a.body.includes("nonsense"))).toBe(true);
});

test("too many attempts are told with the time to wait", async () => {
  serve({
    ...signedOut,
    ...setup(false),
    "POST /console/api/login": {
      status: 429,
      body: { code: "login_throttled", message: "wait", status: 429 },
      headers: { "retry-after": "7" },
    },
  });
  show("/login");
  const user = userEvent.setup();
  await user.type(await screen.findByRole("textbox", { name: /Email/ }), "a@b.c");
  await user.type(document.querySelector("input[type=password]") as HTMLInputElement, "nonsense");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  expect((await screen.findByRole("alert")).textContent).toMatch(/Try again in [67] s/);
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Sign in" }).disabled).toBe(true);
});

test("a server that is not there is named, with a way to try again", async () => {
  vi.stubGlobal("fetch", async () => {
    throw new TypeError("network");
  });
  show("/");
  expect((await screen.findByRole("alert", {}, { timeout: 5000 })).textContent).toContain("cannot be reached");
  expect(screen.getByRole("button", { name: "Try again" })).toBeTruthy();
});

test("passwords are weighed by length first", () => {
  expect([
    strength(""),
    strength("short1!"),
    strength("aaaaaaaaaaaa"),
    strength("correct horse"),
    strength("correct horse battery"),
  ]).toEqual([0, 1, 1, 2, 4]);
});

test("a request carries what was set and nothing else", () => {
  const conversation = {
    model: "m",
    system: " Be brief. ",
    parameters: { temperature: 0, seed: undefined, stop: ["END"], format: "json_schema" as const, schema: '{"type":"object"}' },
  };
  expect(requestBody(conversation, [{ role: "user", content: "hi" }])).toEqual({
    model: "m",
    messages: [
      { role: "system", content: " Be brief. " },
      { role: "user", content: "hi" },
    ],
    temperature: 0,
    stop: ["END"],
    response_format: { type: "json_schema", json_schema: { name: "answer", schema: { type: "object" }, strict: true } },
  });
});

test("values become Python literals", () => {
  expect(toPython({ a: true, b: null, c: ["x"], d: {} })).toBe(
    '{\n    "a": True,\n    "b": None,\n    "c": [\n        "x",\n    ],\n    "d": {},\n}',
  );
});
