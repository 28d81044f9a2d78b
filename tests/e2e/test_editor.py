"""Writing a definition: findings while one types, and nothing typed is lost."""

from playwright.sync_api import expect

TEXT = "name: greet\ndescription: hello\nsteps:\n  hello: {agent: echo, with: {value: 1}}\n"


def opened(page, path="/definitions/greet/edit/"):
    page.goto(path)
    expect(page.locator(".cm-content")).to_be_visible()
    return page.locator(".cm-content")


def test_findings_come_while_one_types_and_a_draft_outlives_the_page(client, window, troubles):
    client("builder").post("definitions/", {"text": TEXT, "file": "greet.yaml"})
    page = window("builder")
    opened(page).click()
    page.keyboard.press("Control+End")
    page.keyboard.type("  bye: {agent: ecko, needs: [hello]}")
    finding = page.locator("#findings a")
    expect(finding).to_have_text("Line 5, column 16")
    expect(page.locator(".cm-lint-marker-error")).to_be_visible()
    expect(page.get_by_text("As of the last text without errors.")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".cm-content")).not_to_be_focused()
    finding.click()
    expect(page.locator(".cm-activeLine")).to_contain_text("ecko")
    page.goto("/definitions/")
    opened(page)
    expect(page.locator("#findings")).to_contain_text("Nothing is wrong with it.")
    expect(page.get_by_text("As of the last text without errors.")).to_be_hidden()
    page.get_by_role("button", name="Take it up again").click()
    expect(page.locator(".cm-content")).to_contain_text("ecko")
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/edit/" in answer.url) as refused:
        troubles.expected("400")
        page.get_by_role("button", name="Save as new version").click()
    assert refused.value.status == 400
    expect(page.locator(".cm-content")).to_contain_text("ecko")


def test_a_draft_goes_with_its_writer_who_signs_out_and_in_time(client, window, sign_in, troubles):
    troubles.expected()
    client("builder").post("definitions/", {"text": TEXT.replace("greet", "left"), "file": "left.yaml"})
    page = window(None)  # a session of its own, which ends
    sign_in(page, "builder")
    page.goto("/definitions/left/edit/")
    page.evaluate("""() => {
      const kept = (days) => JSON.stringify({ text: "x", base: "1", at: Date.now() - days * 86400000 });
      localStorage.setItem("draft:1/old/", kept(8));
      localStorage.setItem("draft:1/new/", kept(6));
    }""")
    opened(page, "/definitions/left/edit/").click()
    assert page.evaluate("Object.keys(localStorage)") == ["draft:1/new/"]
    page.keyboard.type("# mine")
    page.locator("form[action='/accounts/logout/'] button:visible").first.click()
    expect(page.locator("input[name=login]")).to_be_visible()
    assert page.evaluate("Object.keys(localStorage)") == []


def test_what_someone_else_saved_meanwhile_is_shown_before_it_is_saved_over(client, window, troubles):
    client("builder").post("definitions/", {"text": TEXT.replace("greet", "shared"), "file": "shared.yaml"})
    page = window("builder")
    opened(page, "/definitions/shared/edit/").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("# mine")
    theirs = TEXT.replace("greet", "shared").replace("hello\n", "theirs\n")
    client("builder").post("definitions/", {"text": theirs, "file": "shared.yaml"})
    troubles.expected("409")
    page.get_by_role("button", name="Save as new version").click()
    expect(page.get_by_role("heading", name="Version 2 was saved meanwhile")).to_be_visible()
    expect(page.locator(".is-removed").first).to_contain_text("theirs")
    page.get_by_role("button", name="Save mine as version 3").click()
    expect(page.locator("#toasts")).to_contain_text("Saved as version 3 of shared.")
    assert page.evaluate("Object.keys(localStorage)") == []


def test_without_scripts_a_definition_is_written_too(window, troubles):
    page = window("builder", java_script_enabled=False)
    page.goto("/definitions/new/")
    troubles.expected("400")
    page.locator("textarea").fill("name: plain\nsteps:\n  a: {agent: ecko}\n")
    page.get_by_role("button", name="Save as new version").click()
    page.get_by_role("link", name="Line 3, column 14").click()
    assert page.url.endswith("#L3")
    expect(page.locator("#L3")).to_contain_text("There is no agent ecko.")
    page.locator("textarea").fill("name: plain\nsteps:\n  a: {agent: echo}\n")
    page.get_by_role("button", name="Save as new version").click()
    expect(page.locator("h1")).to_have_text("plain")
