"""The text shown when the stack is ready: its URL, the token, and how to call it with each client."""

from pathlib import Path

MODEL = "tidemill/noop"


def render(base_url: str, token: str, env_file: Path) -> str:
    return f"""
Tidemill is ready: {base_url}
  token   {token}
  shell   . {env_file}

The last line gives a shell the token, the base URL and the `tidemill` command. In that shell:

  tidemill run {MODEL} -i text=hello

  # Python, replicate 1.x
  import replicate; print(replicate.run("{MODEL}", input={{"text": "hello"}}))

  # Python, replicate 2.x
  from replicate import Replicate; print(Replicate().run("{MODEL}", input={{"text": "hello"}}))

  // JavaScript, replicate 1.x
  const replicate = new (require("replicate"))({{ baseUrl: process.env.REPLICATE_BASE_URL + "/v1" }});
  replicate.run("{MODEL}", {{ input: {{ text: "hello" }} }}).then(console.log);

A tutorial, from here to a model of your own: {base_url}/docs/tutorial
"""


def moved(old_url: str, new_url: str, env_file: Path) -> str:
    """Return the text for users who have the old address in a shell or in a program."""
    return f"""
Tidemill has MOVED: it was at {old_url} and is now at {new_url}
  {env_file} has changed: read it again in every shell that has read it before"""
