"""What dashboards here are made of: panels, queries, variables, links. Each dashboard file is a list of these.

Unit, description and queries are arguments that no panel can leave out. Grafana's own schema is behind it: grafana-foundation-sdk
builds the JSON, this file decides what all dashboards have in common.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shape
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import prometheus as promql

COLUMNS = 24  # of Grafana's grid
DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")


class Unit:
    """Grafana's names of units (its "value formats")."""

    REQUESTS = "reqps"
    PER_SECOND = "cps"
    BYTES_PER_SECOND = "Bps"
    SECONDS = "s"
    BYTES = "bytes"
    RATIO = "percentunit"
    COUNT = "short"
    TIME = "dateTimeFromNow"
    TEXT = "string"


GREEN, YELLOW, RED, BLUE, GREY = "green", "#EAB839", "red", "blue", "#8e8e8e"


@dataclasses.dataclass(frozen=True)
class Query:
    """exemplar: also ask for exemplars, the dots that lead to a trace. right: on the right axis, in that unit. unit, steps: of this
    figure, where its panel has several."""

    expr: str
    legend: str = ""
    exemplar: bool = False
    right: str = ""
    unit: str = ""
    steps: tuple = ()


@dataclasses.dataclass(frozen=True)
class Band:
    """The query's series drawn between two others: what an estimate is uncertain by."""

    middle: Query
    lower: Query
    upper: Query


@dataclasses.dataclass(frozen=True)
class Words:
    """From this value on: this text in this colour. A stat in words is read without knowing the metric."""

    begin: float
    text: str
    color: str


@dataclasses.dataclass(frozen=True)
class Column:
    """One of a table: name is a label, or the letter of a query."""

    name: str
    title: str
    unit: str = Unit.TEXT
    link: str = ""  # where a click on a cell leads
    steps: tuple = ()
    width: int | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """kind makes the builder; the rest is what all have."""

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    kind: Callable
    width: int
    height: int
    steps: tuple = ()  # thresholds: ((0, GREEN), (0.05, RED))
    links: tuple[tuple[str, str], ...] = ()  # title, where to
    instant: bool = False  # only how it is now
    repeat: str = ""  # one such panel for each value of this variable


@dataclasses.dataclass(frozen=True)
class Row:
    """A heading and its panels, from left to right; a new line begins where 24 columns are full. next: title and address of where
    who has looked at these goes on; a panel may have links of its own."""

    title: str
    next: tuple[str, str]
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclasses.dataclass(frozen=True)
class Board:
    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple = ()
    links: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str, str], ...] = ()  # name, colour, expression


# ---- panels ----


def graph(
    title: str,
    unit: str,
    description: str,
    *queries: Query | Band,
    width: int = 8,
    height: int = 8,
    steps: tuple = (),
    stacked: bool = False,
    links: tuple = (),
    on_line: tuple = (),
    top: float | None = None,
    repeat: str = "",
) -> Panel:
    """Lines over time. top: the axis ends there, as 1 for a share. on_line: where a click on a line can lead."""
    bands = [query for query in queries if isinstance(query, Band)]
    flat = [
        part for query in queries for part in ((query.lower, query.upper, query.middle) if isinstance(query, Band) else (query,))
    ]

    def kind():
        made = (
            timeseries.Panel()
            .line_width(1)
            .fill_opacity(30 if stacked else 8)
            .show_points(shape.VisibilityMode.AUTO)
            .legend(
                common.VizLegendOptions()
                .display_mode(shape.LegendDisplayMode.TABLE)
                .placement(shape.LegendPlacement.BOTTOM)
                .show_legend(True)
                .calcs(["lastNotNull", "max"])
            )
            .tooltip(common.VizTooltipOptions().mode(shape.TooltipDisplayMode.MULTI).sort(shape.SortOrder.DESCENDING))
            .axis_soft_min(0)
        )
        if stacked:
            made.stacking(common.StackingConfig().mode(shape.StackingMode.NORMAL).group("A"))
        if top is not None:
            made.max(top)
        if on_line:
            made.data_links([link(title_, url) for title_, url in on_line])
        if steps:
            made.thresholds_style(common.GraphThresholdsStyleConfig().mode(shape.GraphThresholdsStyleMode.DASHED))
        for number, query in enumerate(flat):
            if query.right:
                made.override_by_query(
                    letter(number),
                    [
                        model.DynamicConfigValue("custom.axisPlacement", "right"),
                        model.DynamicConfigValue("unit", query.right),
                        model.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 4]}),
                    ],
                )
        for band in bands:
            _draw_band(made, band, flat)
        return made

    return Panel(title, unit, description, tuple(flat), kind, width, height, steps, links, repeat=repeat)


def _draw_band(made: timeseries.Panel, band: Band, flat: list[Query]):
    """Grafana fills a series down to another that it knows by name, so the band's edges have fixed names."""
    edge = [
        model.DynamicConfigValue("custom.lineWidth", 0),
        model.DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
        model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": BLUE}),
    ]
    made.override_by_query(letter(flat.index(band.lower)), [*edge, model.DynamicConfigValue("custom.fillOpacity", 0)])
    made.override_by_query(
        letter(flat.index(band.upper)),
        [
            *edge,
            model.DynamicConfigValue("custom.fillBelowTo", band.lower.legend),
            model.DynamicConfigValue("custom.fillOpacity", 20),
        ],
    )


def number(
    title: str,
    unit: str,
    description: str,
    *queries: Query,
    width: int = 4,
    height: int = 4,
    steps: tuple = ((None, BLUE),),
    words: Sequence[Words] = (),
    none: str = "no data",
    links: tuple = (),
    sparkline: bool = True,
) -> Panel:
    """Figures that are read at once, or words that stand for them. none: what stands there when there is no such series."""

    def kind():
        made = (
            stat.Panel()
            .color_mode(shape.BigValueColorMode.BACKGROUND if words else shape.BigValueColorMode.VALUE)
            .graph_mode(shape.BigValueGraphMode.AREA if sparkline and not words else shape.BigValueGraphMode.NONE)
            .text_mode(shape.BigValueTextMode.VALUE_AND_NAME if queries[0].legend else shape.BigValueTextMode.VALUE)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .no_value(none)
        )
        if words:
            made.mappings(_mappings(words))
        for at, query in enumerate(queries):
            own = [model.DynamicConfigValue("unit", query.unit)] if query.unit else []
            if query.steps:
                own.append(model.DynamicConfigValue("thresholds", _steps(query.steps)))
            if own:
                made.override_by_query(letter(at), own)
        return made

    thresholds = tuple((word.begin if at else None, word.color) for at, word in enumerate(words)) or steps
    return Panel(title, unit, description, queries, kind, width, height, thresholds, links, instant=bool(words))


def _mappings(words: Sequence[Words]) -> list:
    out = []
    for at, word in enumerate(words):
        end = words[at + 1].begin if at + 1 < len(words) else None
        # A range's end is part of it, and the first that fits counts.
        result = model.ValueMappingResult(text=word.text, color=word.color, index=len(words) - at)
        out.append(model.RangeMap(options=model.DashboardRangeMapOptions(from_val=word.begin, to=end, result=result)))
    return out[::-1]


def rows_of(
    title: str,
    unit: str,
    description: str,
    *queries: Query,
    columns: Sequence[Column],
    width: int = 12,
    height: int = 9,
    sort: str = "",
) -> Panel:
    """A table with a line for each label set; a query is a column. sort: the title of the column that the largest stands first in."""

    def kind():
        made = table.Panel().cell_height(shape.TableCellHeight.SM)
        if sort:
            made.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
        keys = [column.name for column in columns if len(column.name) > 1]
        made.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        # Fields that no column names (Time, labels) do not come through.
        names = [*keys, *(f"Value #{letter(at)}" for at in range(len(queries)))] if len(queries) > 1 else [*keys, "Value"]
        made.with_transformation(model.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": names}}))
        order = {_field(column, len(queries)): at for at, column in enumerate(columns)}
        titles = {_field(column, len(queries)): column.title for column in columns}
        made.with_transformation(
            model.DataTransformerConfig(
                id_val="organize", options={"excludeByName": {}, "indexByName": order, "renameByName": titles}
            )
        )
        for column in columns:
            made.override_by_name(column.title, _cell(column))
        return made

    return Panel(title, unit, description, queries, kind, width, height, instant=True)


def _field(column: Column, queries: int) -> str:
    if len(column.name) > 1:
        return column.name
    return f"Value #{column.name}" if queries > 1 else "Value"


def _cell(column: Column) -> list:
    out = [model.DynamicConfigValue("unit", column.unit)]
    if column.width:
        out.append(model.DynamicConfigValue("custom.width", column.width))
    if column.link:
        out.append(model.DynamicConfigValue("links", [{"title": column.title, "url": column.link, "targetBlank": False}]))
    if column.steps:
        out.append(model.DynamicConfigValue("thresholds", _steps(column.steps)))
        out.append(model.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    return out


def _steps(steps: Sequence) -> dict:
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def bars(
    title: str,
    unit: str,
    description: str,
    *queries: Query,
    width: int = 8,
    height: int = 8,
    steps: tuple = ((None, BLUE),),
    top: float | None = None,
) -> Panel:
    """How full things are now, one bar each."""

    def kind():
        made = (
            bargauge.Panel()
            .orientation(shape.VizOrientation.HORIZONTAL)
            .display_mode(shape.BarGaugeDisplayMode.BASIC)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .min(0)
        )
        if top is not None:
            made.max(top)
        return made

    return Panel(title, unit, description, queries, kind, width, height, steps, instant=True)


def heat_map(title: str, unit: str, description: str, query: Query, width: int = 12, height: int = 9) -> Panel:
    """Cells of a histogram's buckets over time."""

    def kind():
        return (
            heatmap.Panel()
            .calculate(False)
            .color(heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
            .y_axis(heatmap.YAxisConfig().unit(unit))
            .cell_gap(1)
            .show_legend()
            .exemplars_color("rgba(31,120,193,0.9)")
        )

    return Panel(title, unit, description, (query,), kind, width, height)


# ---- variables ----


def datasource():
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def choice(name: str, label: str, query: str, *, every: str = ".+", multi: bool = True):
    """Values of a label, as Prometheus has them. every: what stands for all; ".*" also fits where the label is missing."""
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi)
    )
    if not multi:
        return made
    return made.include_all(True).all_value(every).current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))


def text(name: str, label: str, value: str, description: str):
    return (
        dashboard.TextBoxVariable(name)
        .label(label)
        .description(description)
        .default_value(value)
        .current(model.VariableOption(selected=True, text=value, value=value))
    )


# ---- JSON ----


def letter(at: int) -> str:
    """The name of a panel's query: A, B, ..."""
    return chr(ord("A") + at)


def _built(panel: Panel, next_: tuple[str, str], at: int, x: int, y: int):
    made = panel.kind()
    made.id(at).title(panel.title).description(panel.description).unit(panel.unit).datasource(DATASOURCE)
    made.grid_pos(model.GridPos(h=panel.height, w=panel.width, x=x, y=y))
    if panel.steps:
        steps = [model.Threshold(value=value, color=color) for value, color in panel.steps]
        made.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    made.links([link(title, url) for title, url in (panel.links or (next_,))])
    if panel.repeat:
        made.repeat(panel.repeat).repeat_direction("h").max_per_row(COLUMNS // panel.width)
    for number_, query in enumerate(panel.queries):
        target = prometheus.Dataquery().ref_id(letter(number_)).datasource(DATASOURCE).expr(query.expr).legend_format(query.legend)
        if isinstance(made, table.Panel):
            target.format(promql.PromQueryFormat.TABLE)
        elif isinstance(made, heatmap.Panel):
            target.format(promql.PromQueryFormat.HEATMAP)
        if panel.instant:
            target.instant()
        else:
            target.range()
        made.with_target(target.exemplar(query.exemplar))
    return made


def link(title: str, url: str):
    return dashboard.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url).include_vars(False).keep_time(False)


def _others():
    """A menu of all dashboards of Weir, which takes variables and time along."""
    return (
        dashboard.DashboardLink("Weir")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["weir"])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )


def _placed(board: Board, made: dashboard.Dashboard):
    at, y = 1, 0
    for row in board.rows:
        heading = dashboard.Row(row.title).id(at).collapsed(row.collapsed).grid_pos(model.GridPos(h=1, w=COLUMNS, x=0, y=y))
        at, heading_y, y, x, line = at + 1, y, y + 1, 0, 0
        inside = []
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + line
            inside.append(_built(panel, row.next, at, x, y))
            at, x, line = at + 1, x + panel.width, panel.height
        # What a folded row keeps takes no room below it.
        y = heading_y + 1 if row.collapsed else y + line
        if row.collapsed:
            for panel in inside:
                heading.with_panel(panel)
        made.with_row(heading)
        if not row.collapsed:
            for panel in inside:
                made.with_panel(panel)


def to_json(board: Board) -> dict:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["weir"])
        .editable()
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
    )
    for variable in board.variables:
        made.with_variable(variable)
    made.link(_others())
    for title, url in board.links:
        made.link(link(title, url))
    _placed(board, made)
    out = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    out["annotations"]["list"] = [_annotation(*each) for each in board.annotations]
    return out


def _annotation(name: str, color: str, expr: str) -> dict:
    """The builder knows no title format: without one all marks would be called alike."""
    return {
        "name": name,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "15s",
        "titleFormat": name,
        "textFormat": "{{job}} {{instance}}",
    }
