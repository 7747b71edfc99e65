"""[providers.NAME] and [budgets.NAME]: who makes pictures, videos and texts, and what may be spent on them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from .fields import Table, duration, key

Price = Annotated[float, key("what the budgets count; 0: nothing", "a number from 0", ge=0)]


class ProviderSettings(Table, frozen=True, kw_only=True):
    """[providers.NAME]: one account at one provider. Its key comes from the environment alone."""

    type: Annotated[
        Literal["openai", "fal", "local"],
        key("what it speaks: OpenAI's API, as many others do, or fal.ai's queue", '"openai", "fal" or "local"'),
    ]
    kinds: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        key("of jobs that it serves, or what stands before their first dot", 'a list such as ["image"]'),
    ]
    base_url: Annotated[str | None, key("where it is; absent: the type's own place", "an http:// or https:// URL")] = (
        None
    )
    api_key_variable: Annotated[
        str | None, key("environment variable with its key; absent: OPENAI_API_KEY or FAL_KEY", "a variable's name")
    ] = None
    model: Annotated[str | None, key("which of its models; needed for openai and fal", "a model's name")] = None
    sizes: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[1-9]\d{1,3}x[1-9]\d{1,3}$")], ...],
        key("that its pictures can have, the first by default; none: any", 'a list such as ["1024x1024"]'),
    ] = ()
    answer: Annotated[
        Literal["b64_json", "url"] | None,
        key("how openai is asked to hand pictures over; absent: as it likes", '"b64_json" or "url"'),
    ] = None
    price_image: Price = 0.0
    price_video: Price = 0.0
    price_input: Price = 0.0
    price_output: Price = 0.0
    max_input: Annotated[
        int, key("tokens of a text's input, by our estimate; longer ones are cut", "a whole number from 100", ge=100)
    ] = 100_000
    connect_timeout_seconds: Annotated[float, duration("to reach it", gt=0)] = field(
        default=5.0, name="connect_timeout"
    )
    read_timeout_seconds: Annotated[float, duration("without a byte from it", gt=0)] = field(
        default=120.0, name="read_timeout"
    )
    timeout_seconds: Annotated[float, duration("for one call as a whole", gt=0)] = field(default=280.0, name="timeout")


class BudgetSettings(Table, frozen=True, kw_only=True):
    """[budgets.NAME]: what calls of providers may cost within a sliding period; one more is refused before the call."""

    period_seconds: Annotated[float, duration("that slides", gt=0)] = field(name="period")
    per: Annotated[
        Literal["user", "all"], key("each user has it alone, or all have it together", '"user" or "all"')
    ] = "all"
    plan: Annotated[str | None, key("whose jobs count; absent: every plan", "a plan")] = None
    model: Annotated[str | None, key("whose calls count; absent: every model", "a model")] = None
    provider: Annotated[str | None, key("whose calls count; absent: every provider", "a name of [providers]")] = None
    most_cost: Annotated[
        Annotated[float, Meta(ge=0)] | None, key("in the unit of the prices; absent: any", "a number from 0")
    ] = None
    most_calls: Annotated[Annotated[int, Meta(ge=0)] | None, key("absent: any number", "a whole number from 0")] = None
