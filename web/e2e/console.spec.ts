import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import { expect, type Page, test } from "@playwright/test";
import { Appliance } from "./appliance";

const OWNER = { name: "Ada", email: "ada@example.org", password: "correct horse battery" };

/** The words of the console that the journey needs. */
const WORDS = {
  en: {
    setUp: { title: "Welcome to Filbert", action: "Create and start" },
    field: { name: "Name", email: "Email", password: "Password" },
    nav: { playground: "Playground", models: "Models", keys: "API keys", settings: "Settings", main: "Pages" },
    longest: "Longest answer",
    message: "Message",
    send: "Send",
    newKey: "New key",
    create: "Create",
    saved: "I have saved it",
    signOut: "Sign out",
    signIn: "Sign in",
    account: /Account of/,
  },
  "zh-Hans": {
    setUp: { title: "欢迎使用 Filbert", action: "创建并开始" },
    field: { name: "名称", email: "邮箱", password: "密码" },
    nav: { playground: "试验场", models: "模型", keys: "API 密钥", settings: "设置", main: "页面" },
    longest: "最大回答长度",
    message: "消息",
    send: "发送",
    newKey: "新建密钥",
    create: "创建",
    saved: "我已保存",
    signOut: "退出登录",
    signIn: "登录",
    account: /的账户/,
  },
} as const;

const SHOTS = process.env.SHOTS;
async function shot(page: Page, name: string) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
}

/** No violation that keeps people out. */
async function accessible(page: Page, where: string) {
  await page.waitForTimeout(250);
  const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]).analyze();
  const serious = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  expect.soft(serious.map((v) => `${where}: ${v.id} at ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`)).toEqual([]);
}

for (const language of ["en", "zh-Hans"] as const) {
  test.describe(`in ${language}`, () => {
    const words = WORDS[language];
    let appliance: Appliance;
    let page: Page;
    const foreign: string[] = [];
    const mistakes: string[] = [];

    test.describe.configure({ mode: "serial" });
    test.beforeAll(async ({ browser }) => {
      appliance = await Appliance.start();
      const context = await browser.newContext({ baseURL: appliance.url, locale: language === "en" ? "en-GB" : "zh-CN", viewport: { width: 1440, height: 900 } });
      page = await context.newPage();
      page.on("request", (r) => {
        const url = new URL(r.url());
        if (!["data:", "blob:"].includes(url.protocol) && url.origin !== appliance.url) foreign.push(r.url());
      });
      page.on("pageerror", (e) => mistakes.push(String(e)));
      page.on("console", (m) => {
        // The browser writes a line for every refused request, also for those that are meant to be refused.
        if (m.type() === "error" && !m.text().includes("Failed to load resource")) mistakes.push(m.text());
      });
    });
    test.afterAll(async () => {
      await appliance?.stop();
    });

    test("the owner is created in the browser", async () => {
      await page.goto("/");
      await expect(page).toHaveURL(/\/setup$/);
      await expect(page.getByRole("heading", { name: words.setUp.title })).toBeVisible();
      await expect(page.locator("html")).toHaveAttribute("lang", language);
      await accessible(page, "set-up");
      await shot(page, `${language}-setup`);
      await page.getByRole("textbox", { name: words.field.name, exact: true }).fill(OWNER.name);
      await page.getByRole("textbox", { name: words.field.email }).fill(OWNER.email);
      await page.locator("input[type=password]").fill(OWNER.password);
      await page.getByRole("button", { name: words.setUp.action }).click();
      await expect(page).toHaveURL(/\/playground$/);
    });

    test("the playground streams an answer of the local model", async () => {
      await accessible(page, "playground, empty");
      await page.getByRole("textbox", { name: words.longest }).fill("80");
      await page.getByRole("textbox", { name: words.message }).fill("Name three nuts and write a line of Python.");
      await page.getByRole("textbox", { name: words.message }).press("Enter");
      const answer = page.getByTestId("answer");
      await expect(answer.locator('[data-role="assistant"]')).toContainText(/[a-z]{3}/i, { timeout: 60_000 });
      await expect(page.getByTestId("stats")).toBeVisible({ timeout: 60_000 });
      await expect(page.getByRole("button", { name: words.send })).toBeVisible();
      await accessible(page, "playground, answered");
      await shot(page, `${language}-playground`);
    });

    test("a long answer stops when asked to", async () => {
      await page.getByRole("textbox", { name: words.longest }).fill("4000");
      const box = page.getByRole("textbox", { name: words.message });
      await box.fill("Count from one to one thousand in words.");
      await box.press("Enter");
      await expect(page.locator('[data-role="assistant"]').last()).toContainText(/[a-z]/i, { timeout: 60_000 });
      await page.keyboard.press("Escape");
      await expect(page.getByRole("button", { name: words.send })).toBeVisible();
    });

    test("a key made in the browser answers the same by curl", async () => {
      await page.getByRole("navigation", { name: words.nav.main }).getByRole("link", { name: words.nav.keys }).click();
      await accessible(page, "keys, empty");
      await page.getByRole("button", { name: words.newKey }).first().click();
      await page.getByRole("dialog").getByRole("textbox", { name: words.field.name, exact: true }).fill("journey");
      await page.getByRole("dialog").getByRole("button", { name: words.create, exact: true }).click();
      const secret = (await page.getByTestId("secret").innerText()).trim();
      expect(secret).toMatch(/^sk-/);
      await accessible(page, "keys, made");
      await shot(page, `${language}-key`);
      const command = (await page.getByRole("dialog").getByRole("region", { name: "curl" }).innerText()).trim();
      expect(command).toContain(secret);
      const body = JSON.parse(execFileSync("bash", ["-c", `${command} -s`], { encoding: "utf8", timeout: 60_000 }));
      expect(body.object).toBe("chat.completion");
      expect(body.choices[0].message.content.length).toBeGreaterThan(3);
      await page.getByRole("button", { name: words.saved }).click();
      await expect(page.getByRole("cell", { name: "journey", exact: true })).toBeVisible();
      await shot(page, `${language}-keys`);
    });

    test("models are listed, and every page can be used by everybody", async () => {
      const nav = page.getByRole("navigation", { name: words.nav.main });
      await nav.getByRole("link", { name: words.nav.models }).click();
      await expect(page.getByRole("article", { name: "SmolLM2-135M-Instruct.Q8_0" })).toBeVisible();
      await expect(page.getByRole("article", { name: "multilingual-e5-small.Q4_0" })).toBeVisible();
      await accessible(page, "models");
      await shot(page, `${language}-models`);
      for (const part of ["account", "members", "workspaces", "instance", "system"]) {
        await page.goto(`/settings/${part}`);
        await expect(page.getByRole("tabpanel")).toBeVisible();
        await page.waitForLoadState("networkidle");
        await accessible(page, `settings/${part}`);
        await shot(page, `${language}-settings-${part}`);
      }
    });

    test("dark colours and a phone are as usable", async () => {
      await page.emulateMedia({ colorScheme: "dark" });
      for (const path of ["/playground", "/models", "/keys", "/settings/system"]) {
        await page.setViewportSize({ width: 375, height: 740 });
        await page.goto(path);
        await page.waitForLoadState("networkidle");
        await accessible(page, `${path}, dark, phone`);
        expect(await page.evaluate(() => document.documentElement.scrollWidth), `${path} fits`).toBeLessThanOrEqual(375);
        await shot(page, `${language}-phone${path.replaceAll("/", "-")}`);
        await page.setViewportSize({ width: 1440, height: 900 });
        await accessible(page, `${path}, dark`);
        await shot(page, `${language}-dark${path.replaceAll("/", "-")}`);
      }
      await page.emulateMedia({ colorScheme: "light" });
    });

    test("signing out and in again leads back to where one was", async () => {
      await page.goto("/models");
      await page.getByRole("button", { name: words.account }).click();
      await page.getByRole("menuitem", { name: words.signOut }).click();
      await expect(page).toHaveURL(/\/login$/);
      await accessible(page, "login");
      await shot(page, `${language}-login`);
      await page.getByRole("textbox", { name: words.field.email }).fill(OWNER.email);
      await page.locator("input[type=password]").fill("wrong password");
      await page.getByRole("button", { name: words.signIn, exact: true }).click();
      await expect(page.getByRole("alert")).toBeVisible();
      await page.locator("input[type=password]").fill(OWNER.password);
      await page.getByRole("button", { name: words.signIn, exact: true }).click();
      await expect(page).toHaveURL(/\/models$/);
    });

    test("nothing was asked of another host and nothing went wrong in the browser", () => {
      expect(foreign).toEqual([]);
      expect(mistakes).toEqual([]);
    });
  });
}
