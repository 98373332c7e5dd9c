import { Box, Center, Group, NativeSelect, Paper, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { useTranslation } from "react-i18next";
import { LANGUAGES, setLanguage } from "../i18n";
import { Logo } from "../ui/Logo";

/** The frame of the pages before one is signed in. */
export function Gate({ title, text, children }: { title: string; text?: string; children: ReactNode }) {
  const { t, i18n } = useTranslation();
  useEffect(() => {
    document.title = `${title} · Filbert`;
  }, [title]);
  return (
    <Center mih="100%" p="md" component="main">
      <Box w="100%" maw={440}>
        <Stack gap="lg">
          <Group justify="space-between">
            <Group gap="xs">
              <Logo size={32} />
              <Text fw={700} size="xl">
                Filbert
              </Text>
            </Group>
            <NativeSelect
              size="xs"
              aria-label={t("field.language")}
              value={i18n.language}
              onChange={(e) => setLanguage(e.currentTarget.value)}
              data={Object.entries(LANGUAGES).map(([value, label]) => ({ value, label }))}
            />
          </Group>
          <Paper withBorder p="lg" radius="lg">
            <Title order={1} size="h3" mb={4}>
              {title}
            </Title>
            {text && (
              <Text c="dimmed" size="sm" mb="md">
                {text}
              </Text>
            )}
            {children}
          </Paper>
        </Stack>
      </Box>
    </Center>
  );
}
