from click.testing import CliRunner

from edgefer.commands.run import command


def test_the_help_of_run_has_sections_and_each_option_once() -> None:
    page = CliRunner().invoke(command, ["--help"]).output
    for section in ("Source:", "Model and device:", "Faces and emotions:", "Output, any number at once:", "Long runs:"):
        assert page.count(f"\n{section}\n") == 1
    for parameter in command.params:
        if parameter.opts[0].startswith("--"):
            assert (
                sum(
                    line.startswith((f"  {parameter.opts[0]} ", f"  {parameter.opts[0]}\n"))
                    for line in page.splitlines(keepends=True)
                )
                == 1
            ), parameter.opts
    assert "[BUNDLE]" in page.splitlines()[0]
    assert page.count("[BUNDLE]") == 1
