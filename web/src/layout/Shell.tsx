import {
  ActionIcon,
  AppShell,
  Box,
  Burger,
  Group,
  Menu,
  NavLink,
  ScrollArea,
  Text,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import {
  IconBox,
  IconCheck,
  IconChevronDown,
  IconKey,
  IconLanguage,
  IconLogout,
  IconMessageCircle,
  IconMoon,
  IconSettings,
  IconSun,
} from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useEffect } from "react";
import { useTranslation } from "react-i18next";
import { Link, useLocation, useNavigate } from "react-router";
import { api, body } from "../api/client";
import { useSession } from "../api/session";
import { LANGUAGES, setLanguage } from "../i18n";
import { failed } from "../ui/feedback";
import { Logo } from "../ui/Logo";

export function Shell({ children }: { children: ReactNode }) {
  const { t, i18n } = useTranslation();
  const { session, take, signOut, may } = useSession();
  const [opened, { toggle, close }] = useDisclosure(false);
  const location = useLocation();
  const navigate = useNavigate();
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the menu of small screens closes with every change of page
  useEffect(close, [location.pathname]);
  const pages = [
    { to: "/playground", label: t("nav.playground"), icon: IconMessageCircle },
    { to: "/models", label: t("nav.models"), icon: IconBox },
    ...(may("editor") ? [{ to: "/keys", label: t("nav.keys"), icon: IconKey }] : []),
    { to: "/settings", label: t("nav.settings"), icon: IconSettings },
  ];
  const here = pages.find((p) => location.pathname.startsWith(p.to));
  useEffect(() => {
    document.title = here ? `${here.label} · Filbert` : "Filbert";
  }, [here]);
  const change = useMutation({
    mutationFn: (patch: { language?: string; theme?: string }) => body(api.PATCH("/console/api/account", { body: patch })),
    onSuccess: take,
    onError: failed,
  });
  const switchTo = useMutation({
    mutationFn: (id: string) => body(api.POST("/console/api/workspaces/{id}/switch", { params: { path: { id } } })),
    onSuccess: (next) => {
      take(next);
      navigate("/playground");
    },
    onError: failed,
  });
  const dark = scheme === "dark";
  if (!session) return null;
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 220, breakpoint: "sm", collapsed: { mobile: !opened } }} padding={0}>
      <a className="skip" href="#main">
        {t("nav.skip")}
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap" miw={0}>
            <Burger
              opened={opened}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label={t("nav.menu")}
              aria-expanded={opened}
            />
            <UnstyledButton component={Link} to="/playground" aria-label="Filbert">
              <Group gap={8} wrap="nowrap">
                <Logo size={26} />
                <Text fw={700} size="lg" visibleFrom="xs">
                  Filbert
                </Text>
              </Group>
            </UnstyledButton>
            <Menu position="bottom-start" withinPortal>
              <Menu.Target>
                <UnstyledButton
                  px={8}
                  py={4}
                  aria-label={t("nav.workspace", { name: session.workspace.name })}
                  style={{ minWidth: 0 }}
                >
                  <Group gap={4} wrap="nowrap">
                    <Text size="sm" c="dimmed" truncate maw={180}>
                      {session.workspace.name}
                    </Text>
                    <IconChevronDown size={14} aria-hidden />
                  </Group>
                </UnstyledButton>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Label>{t("nav.workspaces")}</Menu.Label>
                {session.workspaces.map((w) => (
                  <Menu.Item
                    key={w.id}
                    leftSection={w.id === session.workspace.id ? <IconCheck size={14} aria-hidden /> : <Box w={14} />}
                    onClick={() => w.id !== session.workspace.id && switchTo.mutate(w.id)}
                  >
                    {w.name}
                  </Menu.Item>
                ))}
              </Menu.Dropdown>
            </Menu>
          </Group>
          <Group gap={4} wrap="nowrap">
            <Menu position="bottom-end" withinPortal>
              <Menu.Target>
                <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("field.language")}>
                  <IconLanguage size={18} aria-hidden />
                </ActionIcon>
              </Menu.Target>
              <Menu.Dropdown>
                {Object.entries(LANGUAGES).map(([code, name]) => (
                  <Menu.Item
                    key={code}
                    lang={code}
                    leftSection={i18n.language === code ? <IconCheck size={14} aria-hidden /> : <Box w={14} />}
                    onClick={() => {
                      setLanguage(code);
                      change.mutate({ language: code });
                    }}
                  >
                    {name}
                  </Menu.Item>
                ))}
              </Menu.Dropdown>
            </Menu>
            <Tooltip label={dark ? t("nav.light") : t("nav.dark")}>
              <ActionIcon
                variant="subtle"
                color="gray"
                size="lg"
                aria-label={dark ? t("nav.light") : t("nav.dark")}
                onClick={() => {
                  setColorScheme(dark ? "light" : "dark");
                  change.mutate({ theme: dark ? "light" : "dark" });
                }}
              >
                {dark ? <IconSun size={18} aria-hidden /> : <IconMoon size={18} aria-hidden />}
              </ActionIcon>
            </Tooltip>
            <Menu position="bottom-end" withinPortal>
              <Menu.Target>
                <UnstyledButton px={8} py={4} aria-label={t("nav.account", { name: session.user.name })}>
                  <Group gap={4} wrap="nowrap">
                    <Text size="sm" truncate maw={120}>
                      {session.user.name}
                    </Text>
                    <IconChevronDown size={14} aria-hidden />
                  </Group>
                </UnstyledButton>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Label>
                  {session.user.email} · {t(`role.${session.user.role}` as "role.owner")}
                </Menu.Label>
                <Menu.Item component={Link} to="/settings/account" leftSection={<IconSettings size={14} aria-hidden />}>
                  {t("settings.account")}
                </Menu.Item>
                <Menu.Item leftSection={<IconLogout size={14} aria-hidden />} onClick={() => void signOut()}>
                  {t("nav.signOut")}
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" component="nav" aria-label={t("nav.main")}>
        <AppShell.Section grow component={ScrollArea}>
          {pages.map(({ to, label, icon: Icon }) => (
            <NavLink
              key={to}
              component={Link}
              to={to}
              label={label}
              active={location.pathname.startsWith(to)}
              aria-current={location.pathname.startsWith(to) ? "page" : undefined}
              leftSection={<Icon size={18} stroke={1.6} aria-hidden />}
              style={{ borderRadius: 8 }}
              color="hazel"
              variant="light"
            />
          ))}
        </AppShell.Section>
        <Text size="xs" c="dimmed" p="xs">
          {session.instance.name} {session.instance.version}
        </Text>
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1}>
        {children}
      </AppShell.Main>
    </AppShell>
  );
}
