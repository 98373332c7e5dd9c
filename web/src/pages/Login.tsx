import { Alert, Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api, body } from "../api/client";
import { useSession } from "../api/session";
import { ErrorNote } from "../ui/feedback";
import { Gate } from "./Gate";

export function Login({ name }: { name?: string }) {
  const { t } = useTranslation();
  const { take } = useSession();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [wait, setWait] = useState(0);
  const login = useMutation({
    mutationFn: () => body(api.POST("/console/api/login", { body: { email, password } })),
    onSuccess: take,
    onError: (e) => {
      setPassword("");
      if (e instanceof ApiError && e.retryAfter) setWait(Math.ceil(e.retryAfter));
    },
  });
  useEffect(() => {
    if (wait <= 0) return;
    const timer = setTimeout(() => setWait(wait - 1), 1000);
    return () => clearTimeout(timer);
  }, [wait]);
  const submit = (e: FormEvent) => {
    e.preventDefault();
    login.mutate();
  };
  return (
    <Gate title={t("login.title")} text={name && name !== "Filbert" ? t("login.to", { name }) : undefined}>
      <form onSubmit={submit}>
        <Stack>
          <TextInput
            label={t("field.email")}
            type="email"
            required
            autoFocus
            autoComplete="username"
            value={email}
            onChange={(e) => setEmail(e.currentTarget.value)}
          />
          <PasswordInput
            label={t("field.password")}
            required
            autoComplete="current-password"
            value={password}
            onChange={(e) => setPassword(e.currentTarget.value)}
            visibilityToggleButtonProps={{ "aria-label": t("action.showPassword") }}
          />
          {wait > 0 ? (
            <Alert color="orange" role="alert">
              {t("login.wait", { seconds: wait })}
            </Alert>
          ) : (
            login.error && <ErrorNote error={login.error} />
          )}
          <Button type="submit" loading={login.isPending} disabled={wait > 0}>
            {t("login.action")}
          </Button>
        </Stack>
      </form>
    </Gate>
  );
}
