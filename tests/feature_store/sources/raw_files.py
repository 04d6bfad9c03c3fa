"""A few rows of every public data set in its original format, made up after its documentation."""

import gzip
import json
import zipfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import polars as pl


def write(file: Path, text: str, *, encoding: str = "utf-8") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))
    return file


def write_gz(file: Path, lines: Sequence[str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") as handle:
        handle.writelines(f"{line}\n" for line in lines)
    return file


def wands(raw: Path) -> Path:
    products = (
        "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\tproduct_features\t"
        "rating_count\taverage_rating\treview_count\n"
        "0\tsolid wood platform bed\tBeds\tFurniture / Bedroom Furniture / Beds\tgood , deep sleep\t"
        "overallwidth-sidetoside:64.7|dsprimaryproductstyle : modern|dsprimaryproductstyle:rustic\t15.0\t4.5\t15.0\n"
        '1\t"chair, ""oak"" 18"" tall"\tChairs\tFurniture/Chairs\t\t\t\t\t\n'
    )
    write(raw / "dataset" / "product.csv", products)
    write(raw / "dataset" / "query.csv", "query_id\tquery\tquery_class\n0\tsalon chair\tMassage Chairs\n1\tbed\t\n")
    labels = "id\tquery_id\tproduct_id\tlabel\n0\t0\t1\tExact\n1\t0\t0\tIrrelevant\n2\t1\t0\tPartial\n"
    write(raw / "dataset" / "label.csv", labels)
    return raw


def esci(raw: Path) -> Path:
    examples = {
        "example_id": [0, 1, 2, 3, 4, 5],
        "query": ["usb hub"] * 4 + ["ratón", "usb hub"],
        "query_id": [7, 7, 7, 7, 8, 7],
        "product_id": ["B01", "B02", "B03", "B04", "B01", "B05"],
        "product_locale": ["us"] * 4 + ["es", "us"],
        "esci_label": ["E", "S", "C", "I", "E", "E"],
        "small_version": [1, 1, 0, 1, 1, 1],
        "large_version": [1, 1, 1, 1, 1, 0],
        "split": ["train", "train", "test", "test", "train", "train"],
    }
    products = {
        "product_id": ["B01", "B02", "B03", "B04", "B05", "B01"],
        "product_title": ["USB hub 4 ports", "USB hub 7", "USB cable", "Sofa", "Hub", "Ratón óptico"],
        "product_description": [None, "<p>seven</p>", None, None, None, None],
        "product_bullet_point": ["four ports\nfast", "fast", None, None, None, None],
        "product_brand": ["Nord", None, "Sud", None, None, None],
        "product_color": ["black", None, "", None, None, None],
        "product_locale": ["us"] * 5 + ["es"],
    }
    raw.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(examples).write_parquet(raw / "shopping_queries_dataset_examples.parquet")
    pl.DataFrame(products).write_parquet(raw / "shopping_queries_dataset_products.parquet")
    return raw


def amazon_2014(raw: Path) -> Path:
    """Products in Python's literals, reviews in JSON as the 5-core has them."""
    meta = [
        "{'asin': '0000031852', 'title': \"Girl's Ballet &amp; Tutu\", 'price': 3.17, 'imUrl': 'http://e.com/a.jpg', "
        "'related': {'also_bought': ['B00']}, 'salesRank': {'Toys & Games': 211836}, 'brand': 'Coxlures', "
        "'categories': [['Sports'], ['Sports & Outdoors', 'Other Sports', 'Dance']]}",
        "{'asin': 'B002', \"description\": \"a 'quoted' word\\tand \\u00e9\", 'title': 'Lamp', 'categories': [[]]}",
        "{'asin': __import__('os').getcwd()}",
    ]
    reviews = [
        {"reviewerID": "A2", "asin": "0000031852", "reviewerName": "J", "helpful": [2, 3], "reviewText": "I bought"}
        | {"overall": 5.0, "summary": "Heavenly", "unixReviewTime": 1252800000, "reviewTime": "09 13, 2009"},
        {"reviewerID": "A3", "asin": "B002", "overall": 1.0, "unixReviewTime": 1252886400},
    ]
    write_gz(raw / "meta_Beauty.json.gz", meta)
    write_gz(raw / "reviews_Beauty_5.json.gz", [json.dumps(review) for review in reviews])
    return raw


def amazon_2018(raw: Path) -> Path:
    meta = [
        {"category": ["Beauty", "Skin &amp; Care"], "description": ["soft", ""], "title": "Cream", "brand": "Nivo"}
        | {"feature": ["50 ml"], "rank": "3,001 in Beauty", "price": "$1,012.99", "asin": "B1", "imageURLHighRes": []},
        {"category": [], "title": "var aPageStart = (new Date()).getTime();", "price": "$5.99 - $12.99", "asin": "B2"},
        {
            "category": ["Beauty"],
            "title": "Soap",
            "price": "",
            "asin": "B3",
            "imageURLHighRes": ["https://e.com/3.jpg"],
        },
        {
            "category": ["Beauty"],
            "title": "Soap",
            "price": "",
            "asin": "B3",
            "imageURLHighRes": ["https://e.com/3.jpg"],
        },
    ]
    reviews = [
        {"overall": 4.0, "verified": True, "reviewTime": "09 20, 2015", "reviewerID": "U1", "asin": "B1"}
        | {"style": {"Size:": " Large"}, "reviewText": "good", "unixReviewTime": 1442707200, "vote": "1,024"},
        {"overall": 2.0, "verified": False, "reviewerID": "U1", "asin": "B3", "unixReviewTime": 1442793600},
        {"overall": 2.0, "verified": False, "reviewerID": "U2", "asin": "B2", "unixReviewTime": 1442793600},
    ]
    write_gz(raw / "meta_All_Beauty.json.gz", [json.dumps(one) for one in meta])
    write_gz(raw / "All_Beauty_5.json.gz", [json.dumps(one) for one in reviews])
    return raw


def amazon_2023(raw: Path) -> Path:
    meta = [
        {"main_category": "All Beauty", "title": "Howard LC0008", "average_rating": 4.8, "rating_number": 10}
        | {"features": ["f1"], "description": ["d1", "d2"], "price": 12.5, "store": "Howard", "categories": []}
        | {"images": [{"thumb": "t", "large": "https://e.com/l.jpg", "variant": "MAIN", "hi_res": None}], "videos": []}
        | {"details": {"Color": "blue", "Best Sellers Rank": {"Beauty": 3}}, "parent_asin": "P1"},
        {"main_category": None, "title": "Mask", "price": "—", "categories": ["Beauty", "Masks"], "parent_asin": "P2"}
        | {"images": [], "details": {}, "average_rating": None, "rating_number": None, "store": None},
        {"title": "Comb", "price": None, "categories": ["Beauty"], "parent_asin": "P3", "description": []},
    ]
    reviews = [
        {"rating": 5.0, "title": "Nice", "text": "x", "images": [], "asin": "V1", "parent_asin": "P1", "user_id": "AG"}
        | {"timestamp": 1588687728923, "verified_purchase": True, "helpful_vote": 0},
        {"rating": 1.0, "asin": "V2", "parent_asin": "P2", "user_id": "AH", "timestamp": 1588687728000},
    ]
    write_gz(raw / "meta_All_Beauty.jsonl.gz", [json.dumps(one, ensure_ascii=False) for one in meta])
    write(raw / "All_Beauty.jsonl", "".join(json.dumps(one) + "\n" for one in reviews))
    return raw


RETAIL = (
    ("536365", "85123A", "WHITE HANGING HEART", 6, "2010-12-01 08:26:00", 2.55, 17850, "United Kingdom"),
    ("536365", "71053", "white metal lantern", 6, "2010-12-01 08:26:00", 3.39, 17850, "United Kingdom"),
    ("536370", "POST", "POSTAGE", 3, "2010-12-01 08:45:00", 18.0, 12583, "France"),
    ("C536379", "85123A", "WHITE HANGING HEART", -1, "2011-07-01 09:41:00", 2.55, 17850, "United Kingdom"),
    ("536381", "85123A", "damaged", -10, "2011-07-02 09:41:00", 0.0, None, "United Kingdom"),
    ("536382", "85123A", "WHITE HANGING HEART", 2, "2011-07-03 10:00:00", 2.95, None, "United Kingdom"),
    ("536383", "85123A", "WHITE HANGING HEART", 2, "2011-07-04 10:00:00", 2.95, None, "United Kingdom"),
)
RETAIL_NAMES = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
RETAIL_II_NAMES = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")


def online_retail(raw: Path) -> Path:
    write_workbook(raw / "Online Retail.xlsx", {"Online Retail": (RETAIL_NAMES, RETAIL)})
    return raw


def online_retail_ii(raw: Path) -> Path:
    """Two sheets, of which the first ends in days that stand in the second as well."""
    older = ("489434", "85048", "GLASS BALL", 12, "2009-12-01 07:45:00", 6.95, 13085, "United Kingdom")
    sheets = {
        "Year 2009-2010": (RETAIL_II_NAMES, (older, *RETAIL[:3])),
        "Year 2010-2011": (RETAIL_II_NAMES, RETAIL),
    }
    write_workbook(raw / "online_retail_II.xlsx", sheets)
    return raw


def instacart(raw: Path) -> Path:
    write(
        raw / "products.csv", 'product_id,product_name,aisle_id,department_id\n1,"Cookies, choc",61,19\n7,Salt,104,13\n'
    )
    write(raw / "aisles.csv", "aisle_id,aisle\n61,cookies cakes\n104,missing\n")
    write(raw / "departments.csv", "department_id,department\n19,snacks\n13,pantry\n")
    orders = (
        "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order\n"
        "20,1,prior,1,2,08,\n21,1,train,2,3,07,15.0\n22,1,test,3,3,07,30.0\n"
    )
    write(raw / "orders.csv", orders)
    lines = "order_id,product_id,add_to_cart_order,reordered\n"
    write(raw / "order_products__prior.csv", f"{lines}20,7,1,0\n20,1,2,0\n")
    write(raw / "order_products__train.csv", f"{lines}21,7,1,1\n")
    return raw


def retailrocket(raw: Path) -> Path:
    events = (
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433224214164,992329,addtocart,248676,\n1433222276276,599528,transaction,248676,4000\n"
    )
    write(raw / "events.csv", events)
    head = "timestamp,itemid,property,value\n"
    first = f"{head}1435460400000,248676,categoryid,1016\n1441508400000,248676,888,1116713 960601 n277.200\n"
    write(raw / "item_properties_part1.csv", first + "1435460400000,248676,available,1\n")
    write(
        raw / "item_properties_part2.csv", f"{head}1441508400000,248676,available,0\n1439089200000,9,categoryid,213\n"
    )
    write(raw / "category_tree.csv", "categoryid,parentid\n1016,213\n213,5\n5,\n")
    return raw


def hm(raw: Path) -> Path:
    names = (
        "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,"
        "graphical_appearance_no,graphical_appearance_name,colour_group_code,colour_group_name,"
        "perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,"
        "perceived_colour_master_name,department_no,department_name,index_code,index_name,index_group_no,"
        "index_group_name,section_no,section_name,garment_group_no,garment_group_name,detail_desc\n"
    )
    top = (
        "0108775015,0108775,Strap top,253,Vest top,Garment Upper body,1010016,Solid,09,Black,4,Dark,5,Black,1676,"
        "Jersey Basic,A,Ladieswear,1,Ladieswear,16,Womens Everyday Basics,1002,Jersey Basic,"
        '"Jersey top, narrow straps."\n'
    )
    write(raw / "articles.csv", names + top)
    people = "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code\n"
    write(
        raw / "customers.csv", f"{people}00dbacae,,,ACTIVE,NONE,49.0,52043ee2\n0000423b,1.0,1.0,,Regularly,,2973abc5\n"
    )
    bought = "t_dat,customer_id,article_id,price,sales_channel_id\n"
    write(raw / "transactions_train.csv", bought + "2018-09-20,00dbacae,0108775015,0.0508,2\n" * 2)
    return raw


def movielens(raw: Path) -> Path:
    folder = raw / "ml-25m"
    films = "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation\n"
    films += '11,"American President, The (1995)",(no genres listed)\n'
    write(folder / "movies.csv", films)
    write(folder / "ratings.csv", "userId,movieId,rating,timestamp\n1,1,4.5,1147880044\n2,11,3.0,1147868817\n")
    return raw


def movielens_1m(raw: Path) -> Path:
    write(
        raw / "ml-1m" / "movies.dat",
        "1::Toy Story (1995)::Animation|Children's\n73::Misérables, Les::Drama\n",
        encoding="latin-1",
    )
    write(raw / "ml-1m" / "ratings.dat", "1::73::5::978300760\n1::1::3::978302109\n")
    write(raw / "ml-1m" / "users.dat", "1::F::1::10::48067\n", encoding="latin-1")
    return raw


RAW = {
    "wands": wands,
    "esci": esci,
    "amazon-2014": amazon_2014,
    "amazon-2018": amazon_2018,
    "amazon-2023": amazon_2023,
    "online-retail": online_retail,
    "online-retail-ii": online_retail_ii,
    "instacart": instacart,
    "retailrocket": retailrocket,
    "hm": hm,
    "movielens": movielens,
}

SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
EPOCH = pl.Series(["1899-12-30 00:00:00"]).str.to_datetime().item()


def write_workbook(file: Path, sheets: Mapping[str, tuple[Sequence[str], Sequence[Sequence[object]]]]) -> None:
    """A small Excel file: numbers as numbers, times as dates, as the originals have them."""
    listed = "".join(
        f'<sheet name="{name}" sheetId="{place}" r:id="rId{place}"/>' for place, name in enumerate(sheets, start=1)
    )
    related = "".join(
        f'<Relationship Id="rId{place}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{place}.xml"/>'
        for place in range(1, len(sheets) + 1)
    )
    styles = f'<Relationship Id="rId99" Type="{OFFICE}/styles" Target="styles.xml"/>'
    kinds = '<Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType='
    kinds += (
        '"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType='
    )
    kinds += '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
    root = f'<Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as book:
        book.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types">{kinds}</Types>')
        book.writestr("_rels/.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{root}</Relationships>')
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{SPREADSHEET}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>',
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships">{related}{styles}</Relationships>',
        )
        formats = '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs>'
        book.writestr("xl/styles.xml", f'<styleSheet xmlns="{SPREADSHEET}">{formats}</styleSheet>')
        for place, (names, rows) in enumerate(sheets.values(), start=1):
            cells = "".join(f"<row>{''.join(cell(value) for value in row)}</row>" for row in (names, *rows))
            book.writestr(
                f"xl/worksheets/sheet{place}.xml",
                f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{cells}</sheetData></worksheet>',
            )


def cell(value: object) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, int | float):
        return f"<c><v>{value}</v></c>"
    text = str(value)
    if text[:2] == "20" and text.count(":") == 2:
        days = (pl.Series([text]).str.to_datetime().item() - EPOCH).total_seconds() / 86_400
        return f'<c s="1"><v>{days}</v></c>'
    if text.isdigit():  # invoice and stock numbers are numbers where they are nothing but digits
        return f"<c><v>{text}</v></c>"
    return f'<c t="inlineStr"><is><t>{escape(text)}</t></is></c>'
