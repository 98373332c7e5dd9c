import { Box, Tabs } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Navigate, Route, Routes, useLocation, useNavigate } from "react-router";
import { useSession } from "../../api/session";
import { Page } from "../../layout/Page";
import { Account } from "./Account";
import { Instance } from "./Instance";
import { Members } from "./Members";
import { System } from "./System";
import { Workspaces } from "./Workspaces";

export default function Settings() {
  const { t } = useTranslation();
  const { may } = useSession();
  const navigate = useNavigate();
  const here = useLocation().pathname.split("/")[2] ?? "account";
  const pages = [
    { path: "account", element: <Account /> },
    ...(may("admin") ? [{ path: "members", element: <Members /> }] : []),
    { path: "workspaces", element: <Workspaces /> },
    ...(may("admin")
      ? [
          { path: "instance", element: <Instance /> },
          { path: "system", element: <System /> },
        ]
      : []),
  ] as const;
  return (
    <Page title={t("nav.settings")}>
      <Tabs value={here} onChange={(v) => v && navigate(`/settings/${v}`)} activateTabWithKeyboard={false}>
        <Tabs.List style={{ flexWrap: "nowrap", overflowX: "auto", overflowY: "hidden" }}>
          {pages.map(({ path }) => (
            <Tabs.Tab key={path} value={path} style={{ flex: "none" }}>
              {t(`settings.${path}` as "settings.account")}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value={here}>
          <Box pt="lg">
            <Routes>
              <Route index element={<Navigate to="/settings/account" replace />} />
              {pages.map(({ path, element }) => (
                <Route key={path} path={path} element={element} />
              ))}
              <Route path="*" element={<Navigate to="/settings/account" replace />} />
            </Routes>
          </Box>
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
