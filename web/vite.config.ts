/// <reference types="vitest/config" />
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { compression } from "vite-plugin-compression2";

const server = process.env.FILBERT_URL ?? "http://127.0.0.1:8787";
const forwarded = Object.fromEntries(
  ["/console", "/v1", "/openapi.json"].map((path) => [path, { target: server, changeOrigin: false }]),
);

export default defineConfig({
  plugins: [
    react(),
    compression({ algorithms: ["brotliCompress", "gzip"], include: /\.(js|css|html|svg|json)$/, threshold: 600 }),
  ],
  build: { target: "es2022", sourcemap: false, assetsInlineLimit: 0, emptyOutDir: false },
  server: { host: "127.0.0.1", proxy: forwarded },
  preview: { host: "127.0.0.1", proxy: forwarded },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"], setupFiles: ["src/test.ts"], css: false },
});
