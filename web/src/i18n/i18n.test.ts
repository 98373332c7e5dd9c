import { describe, expect, test } from "vitest";
import { en } from "./en";
import { zh } from "./zh";

function leaves(value: unknown, path = ""): [string, string][] {
  if (typeof value === "string") return [[path, value]];
  return Object.entries(value as object).flatMap(([key, inner]) => leaves(inner, path ? `${path}.${key}` : key));
}
const names = (text: string) => [...text.matchAll(/{{(\w+)}}/g)].map((m) => m[1]).sort();

describe("the languages", () => {
  const chinese = new Map(leaves(zh));
  test("have the same keys", () => {
    expect([...chinese.keys()]).toEqual(leaves(en).map(([key]) => key));
  });
  test("put the same values into each sentence", () => {
    for (const [key, text] of leaves(en)) expect(names(chinese.get(key) ?? ""), key).toEqual(names(text));
  });
  test("leave no sentence empty", () => {
    for (const [key, text] of [...leaves(en), ...leaves(zh)]) expect(text.trim(), key).not.toBe("");
  });
});
