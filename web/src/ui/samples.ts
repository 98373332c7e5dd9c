/** A request as three programs that can be pasted as they are. */
export function samples(options: {
  base: string;
  key: string;
  body: Record<string, unknown>;
  path?: "chat/completions" | "embeddings" | "rerank";
}) {
  const { base, key, body, path = "chat/completions" } = options;
  const json = JSON.stringify(body, null, 2);
  const quoted = json.replaceAll("'", "'\\''");
  const curl = `curl ${base}/v1/${path} \\\n  -H "Authorization: Bearer ${key}" \\\n  -H "Content-Type: application/json" \\\n  -d '${quoted}'`;
  if (path === "rerank") {
    const python = `import requests\n\nanswer = requests.post(\n    "${base}/v1/rerank",\n    headers={"Authorization": "Bearer ${key}"},\n    json=${indent(toPython(body), 4)},\n)\nprint(answer.json())`;
    const javascript = `const answer = await fetch("${base}/v1/rerank", {\n  method: "POST",\n  headers: { Authorization: "Bearer ${key}", "Content-Type": "application/json" },\n  body: JSON.stringify(${indent(json, 2)}),\n});\nconsole.log(await answer.json());`;
    return { curl, python, javascript };
  }
  const chat = path === "chat/completions";
  const streams = chat && body.stream === true;
  const known = new Set([
    "model",
    "messages",
    "input",
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "stream",
    "response_format",
    "presence_penalty",
    "frequency_penalty",
    "stream_options",
  ]);
  const standard = Object.entries(body).filter(([name]) => known.has(name));
  const extra = Object.fromEntries(Object.entries(body).filter(([name]) => !known.has(name)));
  const named = standard.map(([name, value]) => `    ${name}=${indent(toPython(value), 4)},\n`).join("");
  const beyond = Object.keys(extra).length > 0 ? `    extra_body=${indent(toPython(extra), 4)},\n` : "";
  const call = chat ? "chat.completions.create" : "embeddings.create";
  const showPython = streams
    ? 'for chunk in answer:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)'
    : chat
      ? "print(answer.choices[0].message.content)"
      : "print(len(answer.data[0].embedding))";
  const python = `from openai import OpenAI\n\nclient = OpenAI(base_url="${base}/v1", api_key="${key}")\nanswer = client.${call}(\n${named}${beyond})\n${showPython}`;
  const showScript = streams
    ? 'for await (const chunk of answer) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");'
    : chat
      ? "console.log(answer.choices[0].message.content);"
      : "console.log(answer.data[0].embedding.length);";
  const javascript = `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${base}/v1", apiKey: "${key}" });\nconst answer = await client.${call}(${json});\n${showScript}`;
  return { curl, python, javascript };
}

function indent(text: string, by: number): string {
  return text.replaceAll("\n", `\n${" ".repeat(by)}`);
}

/** A JSON value as a Python literal. */
export function toPython(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value))
    return value.length === 0 ? "[]" : `[\n${value.map((v) => `    ${indent(toPython(v), 4)},\n`).join("")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value);
    return entries.length === 0
      ? "{}"
      : `{\n${entries.map(([k, v]) => `    ${JSON.stringify(k)}: ${indent(toPython(v), 4)},\n`).join("")}}`;
  }
  return JSON.stringify(value);
}
