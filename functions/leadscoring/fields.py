"""The fields of a posted form: urlencoded or multipart bytes in, texts by name out."""

import base64
import dataclasses
from collections.abc import Iterator
from urllib.parse import parse_qsl

from leadscoring.request import MESSAGE_BYTES, Invalid, Request

_FIELDS = 100


def read_fields(request: Request) -> dict[str, str]:
    """Return what was filled in, by the fields' names; of fields with one name, the last.

    Files are dropped: a lead is scored by what it says, and its documents are none of our business.

    Raises:
        Invalid: it is not a form, it is broken, or it is too much.
    """
    match request.media_type:
        case "application/x-www-form-urlencoded":
            return _urlencoded(request.body)
        case "multipart/form-data":
            return _multipart(request.body, request.header("content-type"))
    raise Invalid("unsupported_type", "content-type", "a form is urlencoded or multipart")


def without_files(request: Request) -> Request:
    """Return the same form without the files that nobody reads: they may have megabytes.

    It takes a form that `read_fields` has taken, and is read as that one was.
    """
    if request.media_type != "multipart/form-data":
        return request
    content_type = request.header("content-type")
    delimiter = b"--" + _boundary(content_type).encode()
    parts = [
        b"%b\r\ncontent-disposition: %b\r\n\r\n%b\r\n" % (delimiter, head.encode(), content)
        for head, _, content in _texts(request.body, content_type)
    ]
    body = b"".join([*parts, delimiter, b"--\r\n"])
    return dataclasses.replace(
        request,
        headers={n: value for n, value in request.headers.items() if n != "content-encoding"},
        sent_body=base64.b64encode(body).decode(),
        is_base64=True,
    )


def _urlencoded(body: bytes) -> dict[str, str]:
    _check_size(len(body))
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=_FIELDS))
    except ValueError:
        raise Invalid("invalid", "body", f"a form has at most {_FIELDS} fields") from None


def _multipart(body: bytes, content_type: str) -> dict[str, str]:
    try:
        texts = list(_texts(body, content_type))
    except ValueError:
        message = f"the body is not a multipart form of at most {_FIELDS} fields"
        raise Invalid("invalid", "body", message) from None
    _check_size(sum(len(name.encode()) + len(content) for _, name, content in texts))
    return {name: content.decode(errors="replace") for _, name, content in texts}


def _texts(body: bytes, content_type: str) -> Iterator[tuple[str, str, bytes]]:
    """Return the parts that are no files: what says so, the field's name, and the text.

    Raises:
        ValueError: the body is broken.
    """
    # Few forms are sent so: no other visitor waits for this import.
    from multipart import MultipartSegment, PushMultipartParser

    boundary = _boundary(content_type)
    part: MultipartSegment | None = None
    with PushMultipartParser(boundary, max_segment_count=_FIELDS) as parser:
        # The parser gets the body in one piece, so it gives each part's content in one piece.
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                part = event
                if (part.content_type or "").startswith("multipart/"):
                    raise ValueError("a part that has parts of its own")
            elif event and part and part.name and part.filename is None:
                yield part.header("content-disposition", ""), part.name, event


def _boundary(content_type: str) -> str:
    from multipart import parse_options_header

    _, options = parse_options_header(content_type)  # type: ignore[no-untyped-call]
    return str(options.get("boundary", ""))


def _check_size(size: int) -> None:
    if size > MESSAGE_BYTES:
        raise Invalid("too_large", "body", f"the form has more than {MESSAGE_BYTES} bytes")
