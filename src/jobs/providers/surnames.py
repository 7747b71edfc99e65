"""Chinese family names: the usual ones of one character, and those of two. The Hundred Family Surnames and more."""

from __future__ import annotations

SINGLE = frozenset(
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏窦章云苏潘葛奚范彭郎鲁韦昌马苗凤花方俞任"
    "袁柳酆鲍史唐费廉岑薛雷贺倪汤滕殷罗毕郝邬安常乐于傅皮卞齐康伍余元卜顾孟平黄和穆萧尹姚邵湛汪祁毛禹狄米贝臧计伏成戴宋茅"
    "庞熊纪舒屈项祝董梁杜阮蓝闵席季麻贾路娄江童颜郭梅盛林刁钟徐邱骆高夏蔡田樊胡凌霍虞万柯管卢莫房裘缪解应宗丁宣邓郁单杭"
    "洪包左石崔吉钮龚程嵇邢滑裴陆荣翁荀羊惠甄曲家封芮羿储靳汲邴糜松段富焦巴牧隗谷车侯宓蓬全郗班秋仲伊宫宁仇栾甘厉戎祖"
    "武符刘景詹束龙叶司韶黎蓟薄印宿白怀蒲邰鄂索咸籍赖卓蔺屠蒙池乔阴能苍闻莘党翟谭劳逄姬申扶冉宰郦雍璩桑桂濮牛寿边扈燕冀浦"
    "尚农温庄晏柴瞿阎充慕连茹习宦艾鱼容向古易慎戈廖庾终暨居衡步都耿满弘匡寇广禄欧沃利蔚越夔隆师巩聂晁敖融冷辛阚简饶曾沙鞠丰"
    "关蒯查荆游竺权逯盖益桓祢麹笮"
    "趙錢孫鄭馮陳衛蔣韓楊許呂張嚴華陶謝鄒竇雲蘇潘範魯韋馬鳳愛費岑賀湯"
    "羅畢鄔樂時傅齊餘顧黃蕭邵貝計談龐紀項閔賈婁顏鐘駱盧繆鄧單"
    "鈕陸榮儲靳谷車寧厲劉葉龍黎薊懷蒙喬陰聞譚勞姬酈邊溫莊閻連習魚終滿廣祿歐師鞏聶簡饒豐關遊權"
)
_DOUBLE = (
    "司马 诸葛 夏侯 欧阳 上官 皇甫 尉迟 公孙 令狐 慕容 东方 独孤 南宫 太史 淳于 单于 轩辕 宇文 长孙 鲜于 闾丘 司徒 "
    "司空 端木 百里 呼延 东郭 西门 南郭 公冶 濮阳 赫连 澹台 完颜 耶律 拓跋 申屠 第五 钟离 万俟 闻人 段干 纳兰 北堂 "
    "司馬 諸葛 歐陽 尉遲 公孫 東方 獨孤 南宮 軒轅 長孫 鮮于 濮陽 赫連 澹臺 鍾離"
)
DOUBLE = frozenset(_DOUBLE.split())


def surname_of(name: str) -> str:
    """The family name that the name begins with, two characters before one, or nothing."""
    if name[:2] in DOUBLE:
        return name[:2]
    return name[:1] if name[:1] in SINGLE else ""


def is_full_name(name: str) -> bool:
    """A family name with a given name of one or two characters."""
    surname = surname_of(name)
    return bool(surname) and 1 <= len(name) - len(surname) <= 2
