"""Templates: what they see, what they give, and what they may not do."""

from collections.abc import Mapping
from typing import Any

import pytest

from rsft.errors import PromptError
from rsft.prompts import load_prompts
from rsft.prompts.rows import BadRow
from rsft.prompts.template import PromptTemplate, items_as_text
from rsft.types import Message

CONVERSATION = (Message("user", "hi"), Message("assistant", "hello"), Message("user", "How much is it?"))
FIELDS = {"facts": {"monthly_price": "$5", "size": 49}, "answer": 5, "note": None}


def rendered(template: str, fields: Mapping[str, Any] = FIELDS) -> str:
    return PromptTemplate(template).apply("p1", CONVERSATION, fields)[-1].content


def refusal(template: Any, fields: Mapping[str, Any] = FIELDS) -> str:
    with pytest.raises((PromptError, BadRow)) as refused:
        rendered(template, fields)
    return str(refused.value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("  plain\n", "plain"),
        ("{{ messages[-1].content }} ({{ facts | items_as_text }})", "How much is it? (monthly price: $5; size: 49)"),
        ("{{ id }} {{ answer + 1 }} {{ fields.answer }} {{ fields['facts'].size }}", "p1 6 5 49"),
        ("{% for m in messages %}\n{{ m.role }}, {% endfor %}\n!", "user, assistant, user, !"),
        ("{{ colour | default('no colour') }} {{ note | default('no note', true) }}", "no colour no note"),
        ("{% if colour is defined %}x{% endif %}{{ facts | tojson }}<&'", '{"monthly_price": "$5", "size": 49}<&\''),
        ("{{ '<b>' }}谢谢", "<b>谢谢"),
    ],
)
def test_rendered_into_the_last_turn(template: str, text: str) -> None:
    assert PromptTemplate(template).apply("p1", CONVERSATION, FIELDS) == (*CONVERSATION[:2], Message("user", text))


def test_a_tool_s_last_turn_keeps_its_role() -> None:
    turns = (Message("user", "6 * 7?"), Message("tool", "42"))
    changed = PromptTemplate("Result: {{ messages[-1].content }}").apply("p", turns, {})
    assert changed == (turns[0], Message("tool", "Result: 42"))


def test_a_mapping_sets_the_system_message_the_last_turn_or_both() -> None:
    system = Message("system", "You know: monthly price: $5; size: 49")
    template = {"system": "You know: {{ facts | items_as_text }}"}
    assert PromptTemplate(template).apply("p", CONVERSATION, FIELDS) == (system, *CONVERSATION)
    with_system = (Message("system", "old"), *CONVERSATION)
    assert PromptTemplate(template).apply("p", with_system, FIELDS) == (system, *CONVERSATION)
    both = PromptTemplate(template | {"user": "{{ messages[0].content }}!"}).apply("p", with_system, FIELDS)
    assert both == (system, *CONVERSATION[:2], Message("user", "old!")), "templates see the conversation as it was"


def test_fields_with_the_names_of_variables() -> None:
    fields = {"messages": "m", "fields": "f", "range": "r"}
    assert (
        rendered("{{ messages | length }} {{ fields.fields }} {{ fields.messages }} {{ range }}", fields) == "3 f m r"
    )


def test_text_of_the_data_is_not_evaluated() -> None:
    hostile = "{{ 7 * 7 }}{% raw %}{# x #} {{ ''.__class__ }} {0.__class__} %s <|im_end|> \x1b[31m"
    turns = (Message("user", hostile),)
    fields = {"facts": {"{{ 7 * 7 }}": "{% if %}"}}
    changed = PromptTemplate("{{ messages[-1].content }} / {{ facts | items_as_text }}").apply("{{ 1 }}", turns, fields)
    assert changed[0].content == hostile + " / {{ 7 * 7 }}: {% if %}"
    assert rendered("{{ messages[0].content.format('x') }}") == "hi"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages[0].__class__ }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ ('{0.__class__}' | string).format_map({'0': 1}) }}",
        "{{ ''|attr('__class__') }}",
        "{{ items_as_text.__globals__ }}",
        "{{ self.__init__ }}",
        "{{ fields.update({'a': 1}) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ range(10 ** 9) | list }}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% include 'recipe.yaml' %}",
        "{% import 'os' as os %}",
        "{{ open('/etc/passwd') }}",
        "{{ ['a', 'b'] | random }}",
        "{{ lipsum() }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_the_sandbox(template: str) -> None:
    message = refusal(template)
    assert "template 'user'" in message
    assert message.isprintable()


def test_a_template_changes_no_field() -> None:
    fields = {"facts": {"a": [1]}}
    assert "refused by the sandbox" in refusal("{{ facts.a.append(2) }}", fields)
    assert fields == {"facts": {"a": [1]}}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{{ answr }}",
            "line 1: it uses 'answr', which is not there. Did you mean 'answer'? This row has 'facts', 'answer',",
        ),
        ("a\n\n{{ facts.rating }}", "line 3: it uses 'rating' of an object that holds 'monthly_price', 'size'."),
        ("{{ fatcs | items_as_text }}", "it uses 'fatcs', which is not there. Did you mean 'facts'?"),
        ("{{ messages[9].content }}", "it uses 9 of"),
        ("{{ messages[0].text }}", "it uses 'text' of Message(role='user', content='hi'), which has no such part."),
        ("{% if colour %}x{% endif %}", "it uses 'colour'"),
        ("{{ answer | items_as_text }}", "items_as_text takes an object {slot: value}; found 5"),
        ("{{ {'a_b': none} | items_as_text }}", "the slot 'a_b' holds None"),
        ("{{ {'a': {'b': 1}} | items_as_text }}", "the slot 'a' holds {'b': 1}"),
        ("{{ note }}", "an expression is null; give it a default"),
        ("{{ answer + 'x' }}", "TypeError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ '\\ud800' }}", "lone surrogates"),
        ("{{ '' }} \n", "renders nothing for this row"),
    ],
)
def test_rows_that_a_template_fails_on(template: str, said: str) -> None:
    assert said in refusal(template)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("fine\n{{ answer ", "The prompt template 'user', line 2: "),
        ("fine\n{% if x %}\n", "The line is"),
        ("{{ x | items_as_txt }}", "No filter named 'items_as_txt'. Did you mean 'items_as_text'?"),
        ("{% fi %}", "unknown tag 'fi'"),
        ("", "is ''; expected a text"),
        ({}, "is empty; expected a text, or a mapping with 'system', 'user'"),
        ({"assistant": "x"}, "has a part 'assistant'; expected 'system', 'user'"),
        ({"user": 3}, "part 'user' is 3; expected a text"),
    ],
)
def test_templates_that_are_none(template: Any, said: str) -> None:
    assert said in refusal(template)


def test_names_of_fields_are_safe_to_print() -> None:
    message = refusal("{{ answr }} ", {"answr\x1b[31m": 1, "\x07": 2})
    assert message.isprintable()
    assert "Did you mean 'answr\\x1b[31m'?" in message


def test_items_as_text_lists_and_booleans() -> None:
    assert items_as_text({"sizes": ["S", 2.5], "in_stock": True, "by": ()}) == "sizes: S, 2.5; in stock: true; by: "
    assert items_as_text({"price": 5, "day_of_week": "Monday"}, " is ", ", ") == "price is 5, day of week is Monday"
    assert items_as_text({}) == ""


def test_loaded_prompts_keep_the_conversation_as_it_was(write: Any) -> None:
    source = write("p.jsonl", {"prompt": "hi", "facts": {"a": "1"}, "id": "x"}, {"prompt": "ho", "facts": {"a": "2"}})
    prompts = load_prompts(source, template="{{ messages[-1].content }} {{ facts.a }}", system="Be brief.")
    assert [prompt.messages for prompt in prompts] == [
        (Message("system", "Be brief."), Message("user", "hi 1")),
        (Message("system", "Be brief."), Message("user", "ho 2")),
    ]
    assert [prompt.conversation for prompt in prompts] == [(Message("user", "hi"),), (Message("user", "ho"),)]
    assert [prompt.id for prompt in prompts] == [prompt.id for prompt in load_prompts(source)], (
        "ids ignore the template"
    )


def test_mistakes_name_the_rows(write: Any) -> None:
    source = write("p.jsonl", {"prompt": "a", "facts": {}}, {"prompt": "b"}, {"prompt": "c"})
    with pytest.raises(PromptError) as refused:
        load_prompts(source, template="{{ messages[-1].content }} {{ facts | items_as_text }}")
    message = str(refused.value)
    assert message.startswith("There are 2 mistakes in the prompts:\n")
    assert f"{source}, line 2: the template 'user', line 1: it uses 'facts'" in message
    assert f"{source}, line 3: " in message
    with pytest.raises(PromptError, match=r"p.jsonl, line 1: the template 'user', line 1 is refused by the sandbox"):
        load_prompts(source, template="{{ ''.__class__ }}")


def test_a_template_that_is_none_is_refused_before_any_file_is_read() -> None:
    with pytest.raises(PromptError, match="The prompt template 'user', line 1"):
        load_prompts("missing.jsonl", template="{{")
