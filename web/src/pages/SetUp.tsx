import { Button, PasswordInput, Progress, Stack, Text, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { useNavigate } from "react-router";
import { ApiError, api, body, type Schemas } from "../api/client";
import { useSession } from "../api/session";
import { ErrorNote } from "../ui/feedback";
import { Gate } from "./Gate";

/** 0 to 4: length counts most, variety some. */
export function strength(password: string): number {
  const kinds = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^A-Za-z0-9]/].filter((kind) => kind.test(password)).length;
  const distinct = new Set(password).size;
  if (password.length < 8 || distinct < 4) return password ? 1 : 0;
  const points =
    (password.length >= 10 ? 1 : 0) + (password.length >= 14 ? 1 : 0) + (kinds >= 3 || password.length >= 18 ? 1 : 0);
  return 1 + points;
}

const COLORS = ["red", "red", "orange", "yellow", "green"];

export function NewPassword({
  value,
  onChange,
  error,
  label,
}: {
  value: string;
  onChange: (value: string) => void;
  error?: string;
  label: string;
}) {
  const { t } = useTranslation();
  const points = strength(value);
  return (
    <Stack gap={6}>
      <PasswordInput
        label={label}
        autoComplete="new-password"
        required
        minLength={8}
        value={value}
        error={error}
        onChange={(e) => onChange(e.currentTarget.value)}
        visibilityToggleButtonProps={{ "aria-label": t("action.showPassword") }}
      />
      {value && (
        <>
          <Progress value={points * 25} color={COLORS[points]} size={4} aria-hidden />
          <Text size="xs" c="dimmed" role="status">
            {t(`password.p${points}` as "password.p1")}
          </Text>
        </>
      )}
    </Stack>
  );
}

export function SetUp({ status }: { status: Schemas["SetupStatus"] | undefined }) {
  const { t, i18n } = useTranslation();
  const { take } = useSession();
  const navigate = useNavigate();
  const [form, setForm] = useState({ email: "", name: "", password: "", workspace_name: "" });
  const set = (field: keyof typeof form) => (value: string) => setForm((f) => ({ ...f, [field]: value }));
  const create = useMutation({
    mutationFn: () =>
      body(
        api.POST("/console/api/setup", {
          body: { ...form, workspace_name: form.workspace_name || null, language: i18n.language },
        }),
      ),
    onSuccess: (session) => {
      take(session);
      navigate("/playground", { replace: true });
    },
  });
  const wrong = create.error instanceof ApiError ? create.error : undefined;
  const at = (param: string) => (wrong?.param === param ? wrong.message : undefined);
  const submit = (e: FormEvent) => {
    e.preventDefault();
    create.mutate();
  };
  return (
    <Gate title={t("setup.title")} text={t("setup.text")}>
      <form onSubmit={submit}>
        <Stack>
          <TextInput
            label={t("field.name")}
            required
            autoFocus
            autoComplete="name"
            value={form.name}
            error={at("name")}
            onChange={(e) => set("name")(e.currentTarget.value)}
          />
          <TextInput
            label={t("field.email")}
            type="email"
            required
            autoComplete="username"
            value={form.email}
            error={at("email")}
            onChange={(e) => set("email")(e.currentTarget.value)}
          />
          <NewPassword label={t("field.password")} value={form.password} error={at("password")} onChange={set("password")} />
          <TextInput
            label={t("field.workspace")}
            description={t("setup.workspaceHint")}
            value={form.workspace_name}
            error={at("workspace_name")}
            onChange={(e) => set("workspace_name")(e.currentTarget.value)}
          />
          {create.error && !wrong?.param && <ErrorNote error={create.error} />}
          <Button type="submit" loading={create.isPending}>
            {t("setup.action")}
          </Button>
          <Text size="xs" c="dimmed" ta="center">
            Filbert {status?.version}
          </Text>
        </Stack>
      </form>
    </Gate>
  );
}
